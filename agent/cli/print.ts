// What commands write to their standard streams.
import { sys } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { textBytes } from "../sys/utf8.js";

/** Writes to a standard stream; who has closed it is no error. */
export function print(fd: 1 | 2, text: string): void {
  const bytes = textBytes(text);
  for (let at = 0; at < bytes.length; ) {
    const n = sys(NR.write, fd, bytes.subarray(at), bytes.length - at);
    if (n <= 0) return;
    at += n;
  }
}
