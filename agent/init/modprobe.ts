// The agent called by the kernel in place of modprobe(8), with "-q -- NAME" (request_module in kernel/module/kmod.c): the one process
// that is neither PID 1 nor its child. It has no descriptors; what it has to say goes to the kernel's log.
import { O } from "../abi/flags.js";
import { open, writeAll } from "../sys/file.js";
import { exitGroup } from "../sys/process.js";
import { messageOf } from "../lib/errors.js";
import { loadFor } from "../devices/modules.js";

/** Loads what answers to the name and ends the process: 0 when a module is there, else 1. What no module answers to is no failure to tell. */
export function answer(args: readonly string[]): never {
  let failed = false;
  try {
    const found = loadFor(args[args.length - 1] ?? "", (error) => {
      failed = true;
      using log = open("/dev/kmsg", O.WRONLY);
      writeAll(log, `<3>kata-agent: ${messageOf(error)}\n`);
    });
    failed ||= found === undefined;
  } catch {
    failed = true;
  }
  exitGroup(failed ? 1 : 0);
}
