// Everything a descriptor gives until its end, collected by the loop.
import { EPOLL } from "../abi/flags.js";
import { E } from "../abi/errno.js";
import { type Fd, handOver } from "../sys/fd.js";
import { readRaw, setNonblock } from "../sys/file.js";
import { deferred } from "./async.js";
import { watch } from "./loop.js";

export interface Gathered {
  /** Resolves at the end, on an error of the descriptor, or when it is stopped, with what has come; never rejects. */
  readonly promise: Promise<Uint8Array>;
  /** Closes the descriptor. */
  stop(): void;
}

const chunk = new Uint8Array(4096);
const none = new Uint8Array(0);

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Takes `fd` over and begins to read; what comes beyond `limit` bytes is dropped. Throws SysError; the descriptor is closed then. */
export function gather(fd: Fd, limit: number): Gathered {
  const done = deferred<Uint8Array>();
  const parts: Uint8Array[] = [];
  let size = 0;
  const stop = (): void => {
    if (!fd.open) return;
    watching.close();
    fd.close();
    let all: Uint8Array = none;
    try {
      all = joined(parts, size);
    } finally {
      done.resolve(all); // without room for it too: somebody waits
    }
  };
  const take = (): void => {
    const n = readRaw(fd.n, chunk, 0, chunk.length);
    if (n > 0) {
      const part = chunk.slice(0, Math.min(n, limit - size));
      if (part.length > 0) parts.push(part);
      size += part.length;
    } else if (n !== -E.EAGAIN) stop();
  };
  const watching = handOver(fd, () => {
    setNonblock(fd);
    return watch(fd.n, EPOLL.IN, take, stop);
  });
  return { promise: done.promise, stop };
}
