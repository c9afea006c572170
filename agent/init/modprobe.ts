// The agent called by the kernel in place of modprobe(8), with "-q -- NAME" (request_module in kernel/module/kmod.c): the one process that
// is neither PID 1 nor its child. It is root in the first namespaces, and containers choose the name (a socket's family, a file system, a
// link, the first bytes of a program): so it reads the image's index, loads what answers there, and does nothing else with the
// name. It has no descriptors and asks PID 1 for nothing, which may be the one that waits for it.
import { O } from "../abi/flags.js";
import { exists, open, writeAll } from "../sys/file.js";
import { exitGroup } from "../sys/process.js";
import { AppError, messageOf } from "../lib/errors.js";
import { createFile } from "../lib/fs.js";
import { loadFor } from "../devices/modules.js";
import { REFUSED } from "./names.js";

const LONGEST = 55; // MODULE_NAME_LEN - 1, include/linux/module.h

/** Can it be what a module answers to? */
function isRequest(name: string): boolean {
  for (const c of name) if (c <= " " || c > "~") return false;
  return name !== "" && name.length <= LONGEST;
}

/** Told once for each module: containers can ask without end. One that has been refused for good is not tried again. */
function tellOnce(error: unknown, name: string): void {
  if (error instanceof AppError && error.kind === "unavailable") return;
  createFile(`${REFUSED}/${name}`, "");
  using log = open("/dev/kmsg", O.WRONLY);
  writeAll(log, `<3>kata-agent: ${messageOf(error)}\n`);
}

/** Loads what answers to the last argument and ends the process: 0 when a module is there, else 1. What no module answers to is no failure to tell. */
export function answer(args: readonly string[]): never {
  let status = 1;
  try {
    const name = args[args.length - 1] ?? "";
    let failed = false;
    const found = !isRequest(name) ? undefined : loadFor(name, {
      skip: (one) => exists(`${REFUSED}/${one}`),
      trouble: (error, one) => {
        failed = true;
        tellOnce(error, one);
      },
    });
    if (found !== undefined && !failed) status = 0;
  } catch {
    // nobody reads what this process says
  }
  exitGroup(status);
}
