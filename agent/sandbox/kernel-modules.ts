// Kernel modules that the host wants loaded before the first container: those of the image, or by modprobe(8) in an image that has
// it and no index of ours. Rare: most guest kernels have none.
import { AppError } from "../lib/errors.js";
import { childTask } from "../lib/child-task.js";
import { command } from "../lib/command.js";
import { exists } from "../sys/file.js";
import { haveModules, loadModule } from "../devices/modules.js";

const MODPROBE = "/sbin/modprobe";
const DEADLINE_MS = 30_000;

/** Loads each module with its parameters; the first failure ends it with the kernel's reason, or the program's output. */
export async function loadKernelModules(modules: readonly { readonly name: string; readonly parameters: readonly string[] }[]): Promise<void> {
  for (const { name, parameters } of modules) {
    if (name === "") throw new AppError("internal", "Kernel module name is empty");
    if (!exists(MODPROBE) || haveModules()) await childTask("load_kernel_module", DEADLINE_MS, () => loadModule(name, parameters));
    else await byProgram(name, parameters);
  }
}

async function byProgram(name: string, parameters: readonly string[]): Promise<void> {
  const { status, stdout, stderr } = await command([MODPROBE, "-v", name, ...parameters], { timeoutMs: DEADLINE_MS });
  if (status !== 0) throw new AppError("internal", `load_kernel_module return code: ${status} stdout:${native.utf8Decode(stdout) ?? ""} stderr:${stderr}`);
}
