// The last words of a container: the file that Kubernetes calls its termination log, read in the guest where no file system is
// shared with the host (agent-api 8.14). The file is the container's to write, so nothing is believed of it.
import { O, S, SEEK } from "../abi/flags.js";
import { isErrno, must } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { fstat, open, readRaw } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError } from "../lib/errors.js";
import { aside, type OffLoop } from "../lib/foreign.js";
import { TERMINATION_PATH } from "../engine/container.js";
import type { Sandbox } from "./sandbox.js";

const MAX_BYTES = 4096;
const READ_MS = 10_000;

/** Bytes as text: what is no UTF-8 becomes U+FFFD. */
function textOf(bytes: Uint8Array): string {
  let start = 0;
  while (start < Math.min(3, bytes.length) && ((bytes[start] as number) & 0xc0) === 0x80) start++; // the cut may go through a character
  const good = native.utf8Decode(bytes, start, bytes.length);
  if (good !== undefined) return good;
  let text = "";
  for (const byte of bytes) text += byte < 0x80 ? String.fromCharCode(byte) : "\ufffd";
  return text;
}

/** The end of a file, at most 4096 bytes; nothing for one that is not there or no ordinary file. */
function lastBytes(path: string, _off: OffLoop): string {
  let file;
  try {
    file = open(path, O.RDONLY | O.NONBLOCK | O.NOFOLLOW | O.NOCTTY);
  } catch (error) {
    if (isErrno(error, E.ENOENT)) return "";
    throw error;
  }
  using fd = file;
  const { mode, size } = fstat(fd);
  if ((mode & S.IFMT) !== S.IFREG) return "";
  if (size > MAX_BYTES) must("lseek", NR.lseek, fd.n, size - MAX_BYTES, SEEK.SET);
  const bytes = new Uint8Array(MAX_BYTES);
  return textOf(bytes.subarray(0, Math.max(0, readRaw(fd.n, bytes, 0, MAX_BYTES))));
}

/** The termination log of a container. Rejects with AppError: "invalid" for another type, "internal" when there is none. */
export async function diagnosticData(sandbox: Sandbox, id: string, type: string): Promise<string> {
  if (type !== "termination_log") throw new AppError("invalid", `"unsupported diagnostic log_type: ${type}"`);
  const container = sandbox.container(id, () => new AppError("internal", `Invalid container id: ${id}`));
  const path = container.annotations[TERMINATION_PATH];
  if (path === undefined || path === "") throw new AppError("internal", "No terminationMessagePath annotation");
  const source = container.terminationLog;
  if (source === undefined) throw new AppError("internal", `termination message mount not found for ${path}`);
  return aside(`read the termination log of container ${id}`, READ_MS, (off) => lastBytes(source, off));
}
