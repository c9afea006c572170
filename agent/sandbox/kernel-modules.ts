// Kernel modules that the host wants loaded before the first container. Rare: most guest kernels have none.
import { AppError } from "../lib/errors.js";
import { command } from "../lib/command.js";

const MODPROBE = "/sbin/modprobe";

/** Loads each module with its parameters by modprobe(8); the first failure ends it with the program's output. */
export async function loadKernelModules(modules: readonly { readonly name: string; readonly parameters: readonly string[] }[]): Promise<void> {
  for (const { name, parameters } of modules) {
    if (name === "") throw new AppError("internal", "Kernel module name is empty");
    const { status, stdout, stderr } = await command([MODPROBE, "-v", name, ...parameters], { timeoutMs: 30_000 });
    if (status !== 0) throw new AppError("internal", `load_kernel_module return code: ${status} stdout:${native.utf8Decode(stdout) ?? ""} stderr:${stderr}`);
  }
}
