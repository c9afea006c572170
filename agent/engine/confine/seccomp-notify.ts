// The listener of a seccomp filter that asks somebody about calls: taken from the child that has loaded the filter, and handed
// with a record of the container to whoever listens at the filter's listenerPath. See seccomp_unotify(2), pidfd_getfd(2);
// runtime-spec config-linux.md, "The Container Process State".
import { writeAll } from "../../sys/file.js";
import { pidfdGetfd } from "../../sys/process.js";
import { sendFds } from "../../sys/socket.js";
import { connectUnix } from "../../lib/connect.js";
import { AppError, attempt } from "../../lib/errors.js";
import type { Listener } from "../container.js";
import type { HookState } from "../hooks.js";
import { pidfdOf, type Process } from "../process.js";

const FIRST = 4096; // the first message carries the descriptor; one that is short never goes in parts

/** Takes descriptor `n` of the process and sends it; `state` is the container's. Throws AppError naming the socket. */
export function handOver(process: Process, n: number, listener: Listener | undefined, state: HookState): void {
  if (listener === undefined) throw new AppError("internal", "the child has a seccomp listener that nobody asked for");
  using fd = pidfdGetfd(pidfdOf(process), n);
  const record = native.utf8Encode(JSON.stringify({ ociVersion: state.ociVersion, fds: ["seccompFd"], pid: process.pid, metadata: listener.metadata, state }));
  using to = attempt(`linux.seccomp.listenerPath: failed to connect with seccomp agent ${listener.path}`, () => connectUnix(listener.path));
  attempt(`send the seccomp listener to ${listener.path}`, () => {
    sendFds(to, record.subarray(0, FIRST), [fd]);
    if (record.length > FIRST) writeAll(to, record.subarray(FIRST));
  });
}
