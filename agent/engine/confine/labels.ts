// AppArmor profile and SELinux label of a process: told to the kernel for the next execve, through the engine's own procfs, which
// no mount of the container can replace (CVE-2019-16884, CVE-2023-27561). See kernel Documentation/admin-guide/LSM.
import { MAGIC, O } from "../../abi/flags.js";
import type { Fd } from "../../sys/fd.js";
import { exists, openat, open, statfs, writeAll } from "../../sys/file.js";
import { AppError, attempt } from "../../lib/errors.js";
import { readTextIf } from "../../lib/fs.js";
import { Level, log } from "../../lib/log.js";
import { openProc } from "../../lib/procfs.js";
import type { Judgement } from "../../oci/judgement.js";
import type { Process, Spec } from "../../oci/spec.js";

/** What is to be written, and to which file. */
export interface Label { readonly field: string; readonly dir: string; readonly text: string }
/** The same with the folder open. */
export interface OpenLabel { readonly label: Label; readonly dir: Fd }

const apparmorOn = (): boolean => readTextIf("/sys/module/apparmor/parameters/enabled")?.startsWith("Y") ?? false;

function selinuxOn(): boolean {
  if (!exists("/sys/fs/selinux")) return false;
  using fs = open("/sys/fs/selinux", O.PATH);
  return statfs(fs).type === MAGIC.SELINUX_MAGIC;
}

/** A module that the kernel has not. */
function missing(field: string, module: string, judgement: Judgement): void {
  if (judgement.missingModules === "refuse") throw new AppError("invalid", `${field}: ${module} is not enabled here`);
  log(Level.WARN, `${field}: ${module} is not enabled here: not applied`);
}

/** Does a process get a label here? Then it does not begin as a stub, and the engine's own file has to be out of its reach by other means. */
export function isLabelled({ apparmorProfile, selinuxLabel }: Partial<Process> = {}): boolean {
  return (!!apparmorProfile && apparmorOn()) || (!!selinuxLabel && selinuxOn());
}

/** The labels that a process gets. Throws AppError "invalid" when the kernel has not the module that one is for. */
export function labelsOf({ apparmorProfile, selinuxLabel }: Process, judgement: Judgement): readonly Label[] {
  const labels: Label[] = [];
  if (apparmorProfile) {
    if (apparmorOn()) labels.push({ field: "process.apparmorProfile", dir: exists("/proc/self/attr/apparmor") ? "attr/apparmor" : "attr", text: `exec ${apparmorProfile}` });
    else missing("process.apparmorProfile", "AppArmor", judgement);
  }
  if (selinuxLabel) {
    if (selinuxOn()) labels.push({ field: "process.selinuxLabel", dir: "attr", text: selinuxLabel });
    else missing("process.selinuxLabel", "SELinux", judgement);
  }
  return labels;
}

/** The label that mounts get here: without SELinux it is refused, or left out with a warning, like one for processes. */
export function mountLabelOf({ linux }: Spec, judgement: Judgement): string | undefined {
  if (!linux?.mountLabel || selinuxOn()) return linux?.mountLabel;
  missing("linux.mountLabel", "SELinux", judgement);
  return undefined;
}

/** In the child, while /proc is the engine's. */
export function openLabels(labels: readonly Label[]): OpenLabel[] {
  return labels.map((label) => ({ label, dir: openProc(`thread-self/${label.dir}`, O.PATH | O.DIRECTORY) }));
}

/** In the child: the next program that it becomes has them. */
export function writeLabels(labels: readonly OpenLabel[]): void {
  for (const { label, dir } of labels) {
    attempt(`${label.field}: "${label.text}"`, () => {
      using file = openat(dir, "exec", O.WRONLY);
      writeAll(file, label.text);
    });
    dir.close();
  }
}
