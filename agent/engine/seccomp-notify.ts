// The listener of a seccomp filter that asks somebody about calls: taken from the child that has loaded the filter, and handed
// with a record of the container to whoever listens at the filter's listenerPath. See seccomp_unotify(2), pidfd_getfd(2);
// runtime-spec config-linux.md, "The Container Process State".
import { must, sys } from "../sys/call.js";
import { Fd, fdPath } from "../sys/fd.js";
import { O, open, writeAll } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { AF, connect, sendFds, SOCK, socket, unixAddress } from "../sys/socket.js";
import { AppError, attempt } from "../lib/errors.js";
import type { Listener } from "./container.js";
import type { HookState } from "./hooks.js";
import type { Process } from "./process.js";

const F_SETFL = 4;
const FIRST = 4096; // the first message carries the descriptor; one that is short never goes in parts

/** Connects to a unix stream socket at a path of any length; "@" begins one of the abstract space. */
function connectTo(path: string): Fd {
  const to = socket(AF.UNIX, SOCK.STREAM);
  try {
    sys(NR.fcntl, to.n, F_SETFL, 0); // a listener with a full queue is waited for
    const cut = path.lastIndexOf("/");
    if (path.startsWith("@")) connect(to, unixAddress(path));
    else {
      using dir = open(path.slice(0, cut + 1) || ".", O.PATH | O.DIRECTORY);
      connect(to, unixAddress(`${fdPath(dir)}/${path.slice(cut + 1)}`));
    }
    return to;
  } catch (error) {
    to.close();
    throw error;
  }
}

/** Takes descriptor `n` of the process and sends it; `state` is the container's. Throws AppError naming the socket. */
export function handOver(process: Process, n: number, listener: Listener | undefined, state: HookState): void {
  if (listener === undefined) throw new AppError("internal", "the child has a seccomp listener that nobody asked for");
  using fd = new Fd(must("pidfd_getfd", NR.pidfd_getfd, process.pidfd.n, n, 0));
  const record = native.utf8Encode(JSON.stringify({ ociVersion: state.ociVersion, fds: ["seccompFd"], pid: process.pid, metadata: listener.metadata, state }));
  using to = attempt(`linux.seccomp.listenerPath: failed to connect with seccomp agent ${listener.path}`, () => connectTo(listener.path));
  attempt(`send the seccomp listener to ${listener.path}`, () => {
    sendFds(to, record.subarray(0, FIRST), [fd]);
    if (record.length > FIRST) writeAll(to, record.subarray(FIRST));
  });
}
