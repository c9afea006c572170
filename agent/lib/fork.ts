// Children of this process by fork(2): what they leave behind of it, and how one becomes a program. There is no other way to a program but
// that of a container's own (engine/child). In a child everything is synchronous; it leaves by execve or exit_group.
import { SIG } from "../abi/flags.js";
import { must, SysError } from "../sys/call.js";
import { Fd } from "../sys/fd.js";
import { dup2, writeAll } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { unblockSignals } from "../sys/poll.js";
import { execve, exitGroup, restoreDescriptorLimit } from "../sys/process.js";
import { messageOf } from "./errors.js";
import { closeLog, logDescriptor } from "./log.js";

/** fork(2) by clone: returns the child's pid, or 0 in the child. Throws SysError. */
export function fork(): number {
  return must("clone", NR.clone, SIG.CHLD, 0, 0, 0, 0);
}

const LARGEST = 4294967295; // number of a descriptor, as close_range(2) has it

/**
 * In a child: closes every descriptor from 3 up but `keep` (ascending order not needed). See close_range(2). Throws SysError where that
 * cannot be: a program would have what is the agent's.
 */
export function closeOthers(keep: readonly number[]): void {
  const close = (from: number, to: number): void => void must("close_range", NR.close_range, from, to, 0);
  if (!keep.includes(logDescriptor())) closeLog();
  let from = 3;
  for (const n of [...keep].sort((a, b) => a - b)) {
    if (n < from) continue;
    if (n > from) close(from, n - 1);
    from = n + 1;
  }
  close(from, LARGEST);
}

/** The same where a container's filter may forbid it: what the engine has open ends with the execve anyway. */
function closeAllowed(): void {
  try {
    closeOthers([]);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
}

export interface Program {
  /** Where it is, if not at argv[0]. */
  readonly path?: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** Its standard streams; those that are left out are this process's. */
  readonly stdin?: Fd;
  readonly stdout?: Fd;
  readonly stderr?: Fd;
  /** This process has a container's filter. */
  readonly filtered?: boolean;
  /** What else is to be done in the child. */
  readonly before?: () => void;
}

/** The end of a child that could not become a program. See execve in the POSIX shell: "command not found" is 127. */
const NOT_EXECUTED = 127;

/**
 * In a child: becomes the program, with no other descriptor, no signal blocked, and the limit of descriptors that the agent was started
 * with. What fails is written to its standard error, and the child ends with status 127. See execve(2).
 */
export function runProgram({ path, argv, env, stdin, stdout, stderr, filtered, before }: Program): never {
  try {
    [stdin, stdout, stderr].forEach((fd, n) => fd !== undefined && dup2(fd, n));
    if (filtered === true) closeAllowed();
    else closeOthers([]);
    restoreDescriptorLimit();
    before?.();
    unblockSignals();
    const errno = -execve(path ?? (argv[0] as string), argv, env);
    writeAll(new Fd(2), `cannot be executed: ${new SysError("execve", errno).message}`);
  } catch (error) {
    writeAll(new Fd(2), messageOf(error));
  } finally {
    exitGroup(NOT_EXECUTED);
  }
}
