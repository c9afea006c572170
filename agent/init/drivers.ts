// The boot of a kernel whose drivers are modules of the image: those of the devices that are there, who loads the rest when the kernel
// asks (proc_sys_kernel(5), modprobe), the console, and the root file system where the initrd is only a step on the way to a disk
// (root= in kernel-parameters.rst). Loaded only where there is a folder of modules.
import { callerEnv } from "../sys/arguments.js";
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { NR } from "../abi/nr.js";
import { AT, F, MAGIC, MS, O } from "../abi/flags.js";
import { chdir, exists, statfs } from "../sys/file.js";
import { chroot, mount } from "../sys/mount.js";
import { pause } from "../sys/poll.js";
import { execve } from "../sys/process.js";
import { childTask } from "../lib/child-task.js";
import { AppError, attempt, messageOf } from "../lib/errors.js";
import { mkdirs, readText, writeText } from "../lib/fs.js";
import { errorLine } from "../lib/log.js";
import { words } from "../lib/text.js";
import { haveModules, loadForDevices, loadModule, otherKernels, runningKernel } from "../devices/modules.js";
import { driversBy } from "../devices/uevent.js";
import { HELPER, REFUSED } from "./names.js";

const TRIES = 1000; // of 10 ms each
const NEW_ROOT = "/run/root";
const LATER_MS = 30_000;

const tell = (error: unknown): void => errorLine(`kata-agent: ${messageOf(error)}`);

/** Loads what the machine has devices for, and prepares for what comes later. A module that cannot be loaded is a line and no more. */
export function bringUp(): void {
  try {
    if (!haveModules()) return tellOthers();
    const line = words(readText("/proc/cmdline"));
    // its devices are on the command line, as a parameter of the module: no bus tells of them
    if (line.some((word) => word.startsWith("virtio_mmio."))) loadModule("virtio_mmio");
    loadForDevices({ trouble: tell });
    mkdirs(REFUSED, 0o700);
    writeText("/proc/sys/kernel/modprobe", HELPER);
    bringLater();
  } catch (error) {
    tell(error);
    return;
  }
  const line = words(readText("/proc/cmdline"));
  openConsole(line);
  enterRoot(line);
}

/** Drivers of devices that come later are loaded when they come. */
export function bringLater(): void {
  driversBy(() => childTask("load the drivers of new devices", LATER_MS, () => {
    let said = "";
    loadForDevices({ trouble: (error) => (said += `${said === "" ? "" : "; "}${messageOf(error)}`) });
    if (said !== "") throw new AppError("internal", said);
    return null;
  }));
}

/** An image with modules of other kernels only cannot be meant for this one. */
function tellOthers(): void {
  const others = otherKernels();
  if (others.length > 0) errorLine(`kata-agent: the kernel modules in the image are for ${others.join(", ")}, this kernel is ${runningKernel()}: none can be loaded`);
}

/** Calls `look` until it is true, at most ten seconds; false when it never was. */
function until(look: () => boolean): boolean {
  for (let i = 0; !look(); i++) {
    if (i === TRIES) return false;
    pause(10);
  }
  return true;
}

/** A console whose driver is a module was not there when the kernel started us: without it there are no streams. */
function openConsole(line: readonly string[]): void {
  const late = line.some((word) => word.startsWith("console=hvc"));
  for (let n = 0; n <= 2; n++) {
    if (sys(NR.fcntl, n, F.GETFD, 0) >= 0) continue;
    const opened = (): boolean => sys(NR.openat, AT.FDCWD, "/dev/console", O.RDWR | O.NOCTTY, 0) >= 0;
    if (!(late ? until(opened) : opened())) return;
  }
}

/** Goes on in the file system that root= names, when this is still the initrd's. Throws AppError: it cannot be mounted, or has no init. */
function enterRoot(line: readonly string[]): void {
  const value = (name: string): string | undefined => line.filter((word) => word.startsWith(`${name}=`)).pop()?.slice(name.length + 1);
  const device = value("root");
  const type = statfs("/").type;
  if (device === undefined || (type !== MAGIC.TMPFS_MAGIC && type !== MAGIC.RAMFS_MAGIC)) return;
  attempt(`enter root=${device}`, () => {
    if (!device.startsWith("/dev/")) throw new AppError("invalid", "only a device in /dev can be named");
    if (!until(() => exists(device))) throw new AppError("internal", "the device did not appear within 10 s");
    mkdirs(NEW_ROOT);
    mountRoot(device, value("rootfstype")?.split(",") ?? ["ext4", "erofs", "squashfs"], line.includes("rw") ? 0 : MS.RDONLY, value("rootflags") ?? "");
    chdir(NEW_ROOT);
    mount(".", "/", undefined, MS.MOVE);
    chroot(".");
    chdir("/");
    const init = value("init") ?? "/sbin/init";
    throw new SysError(`execve ${init}`, -execve(init, [init], callerEnv()));
  });
}

function mountRoot(device: string, types: readonly string[], flags: number, data: string): void {
  for (const [i, type] of types.entries()) {
    const r = sys(NR.mount, device, NEW_ROOT, type, flags, data);
    if (r >= 0) return;
    if (i === types.length - 1) throw new AppError("internal", `mount as ${types.join(", ")}: ${new SysError("mount", -r).message}${r === -E.ENODEV ? ` (the kernel has no ${type}, and the image no module for it)` : ""}`);
  }
}
