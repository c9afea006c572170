// argv and envp with their bytes exact: the host's C code hands them over as text, in which bytes that are no UTF-8 are U+FFFD.
// Then they are read again from /proc. See proc_pid_cmdline(5), proc_pid_environ(5).
import { O } from "../abi/flags.js";
import { open, read } from "./file.js";
import { bytesText } from "./utf8.js";

function exact(given: readonly string[], file: string): readonly string[] {
  if (!given.some((text) => text.includes("\ufffd"))) return given;
  using fd = open(file, O.RDONLY);
  let bytes = new Uint8Array(65536);
  let size = 0;
  for (let n = read(fd, bytes); n > 0; n = read(fd, bytes, size)) {
    size += n;
    if (size < bytes.length) continue;
    const bigger = new Uint8Array(bytes.length * 2);
    bigger.set(bytes);
    bytes = bigger;
  }
  const texts: string[] = [];
  for (let from = 0; from < size; ) {
    const end = bytes.indexOf(0, from);
    const to = end < 0 || end > size ? size : end;
    texts.push(bytesText(bytes, from, to));
    from = to + 1;
  }
  return texts;
}

/** The program's arguments, its own name first. Throws SysError when they are not UTF-8 and /proc does not show them. */
export const callerArgs = (): readonly string[] => exact(native.args, "/proc/self/cmdline");

let environment: readonly string[] | undefined;

/** The caller's environment. Throws SysError as callerArgs. */
export const callerEnv = (): readonly string[] => (environment ??= exact(native.env, "/proc/self/environ"));
