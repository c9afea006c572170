// How errors become an exit status and one clear text, as docker has it: 125 for our own failures, 126 for a command that
// cannot be run, 127 for one that is not there, 128 + n for a signal.
import { ConnectError } from "../client/transport.js";
import { CODE, RpcError } from "../client/rpc-error.js";
import { BootError } from "../vm/boot.js";
import { ImageError } from "../image/tree.js";

export const EXIT_OURS = 125;
export const EXIT_CANNOT_RUN = 126;
export const EXIT_NOT_FOUND = 127;
export const EXIT_INTERRUPTED = 130;

/** Exit status for a call that started a process and failed. */
const statusOfStart = (error: RpcError): number => {
  if (!/^(CreateContainer|StartContainer|ExecProcess)$/.test(error.method)) return EXIT_OURS;
  if (/was not found|no such file|ENOENT/i.test(error.message) && error.code !== CODE.UNAVAILABLE) return EXIT_NOT_FOUND;
  return /permission denied|EACCES|ENOEXEC|exec format/i.test(error.message) ? EXIT_CANNOT_RUN : EXIT_OURS;
};

/** Exit status for any error. */
export const exitStatus = (error: unknown): number => (error instanceof RpcError ? statusOfStart(error) : EXIT_OURS);

const expected = (error: unknown): boolean =>
  error instanceof RpcError || error instanceof ConnectError || error instanceof BootError || error instanceof ImageError;

/** Text for the user: what is expected to go wrong in one line, a fault of ours with its stack. */
export const errorText = (error: unknown): string => {
  if (error instanceof RpcError) return error.toString();
  if (expected(error)) return (error as Error).message;
  if (error instanceof TypeError || error instanceof ReferenceError) return error.stack ?? error.message;
  return error instanceof Error ? error.message : String(error);
};
