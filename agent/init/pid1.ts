// What only PID 1 does: session and console, host name, PATH, power-off, and a last clear line when it cannot go on.
import { IOCTL, LINUX_REBOOT } from "../abi/flags.js";
import { flightRecord, sys } from "../sys/call.js";
import { exists } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { waitReadable } from "../sys/poll.js";
import { pidfdOpen } from "../sys/process.js";
import { reboot, sethostname, syncAll } from "../sys/system.js";
import { fork } from "../lib/fork.js";
import { AppError, messageOf } from "../lib/errors.js";
import { readTextIf } from "../lib/fs.js";
import { errorLine } from "../lib/log.js";
import { words } from "../lib/text.js";

/** Becomes leader of a session with the console as its terminal (no terminal is no error). */
export function takeConsole(): void {
  sys(NR.setsid);
  sys(NR.ioctl, 0, IOCTL.TIOCSCTTY, 1);
}

/** Sets the host name: the first word of /etc/hostname, else "localhost". */
export function nameHost(): void {
  const name = words(readTextIf("/etc/hostname") ?? "")[0] ?? "localhost";
  try {
    sethostname(name);
  } catch {
    // a name the kernel refuses is no reason not to boot
  }
}

const SYNC_SECONDS = 5;

/** sync(2) in a child, for at most five seconds: a disk or share that no longer answers must not keep the machine on. */
function writeBack(): void {
  try {
    const pid = fork();
    if (pid === 0) {
      syncAll();
      for (;;) sys(NR.exit_group, 0);
    }
    using child = pidfdOpen(pid);
    waitReadable(child, SYNC_SECONDS);
  } catch {
    // no process can be made: what is not written yet is lost, but the machine ends
  }
}

/**
 * Ends the machine: writes back, then powers off. Without ACPI (microvm, Firecracker) there is no power-off and the kernel
 * would only halt, so the machine restarts instead, which those VMMs take as the end.
 */
export function powerOff(): never {
  writeBack();
  const commands = exists("/sys/firmware/acpi") ? [LINUX_REBOOT.CMD_POWER_OFF, LINUX_REBOOT.CMD_RESTART] : [LINUX_REBOOT.CMD_RESTART, LINUX_REBOOT.CMD_POWER_OFF];
  for (const command of commands) {
    try {
      reboot(command);
    } catch {
      // try the next way
    }
  }
  for (;;) sys(NR.exit_group, 1);
}

/** PID 1 cannot go on: says why in one line and stops the machine. Any other process exits with status 1. */
export function fatal(what: string, error: unknown, isInit: boolean): never {
  errorLine(`kata-agent: fatal: ${what}: ${messageOf(error)}`);
  if (!(error instanceof AppError)) errorLine(`kata-agent: last system calls (number=result): ${flightRecord().slice(-24).join(" ")}`);
  if (isInit) powerOff();
  for (;;) sys(NR.exit_group, 1);
}
