// A process's seccomp filter, in its child. See seccomp(2), seccomp_unotify(2).
import { F } from "../../abi/flags.js";
import { Fd } from "../../sys/fd.js";
import { fcntl } from "../../sys/file.js";
import { exitGroup } from "../../sys/process.js";
import { lazy } from "../../lib/lazy.js";
import type { Filter } from "../container.js";
import type { ChildEnd } from "../handshake.js";

const bpf = lazy<typeof import("../../sys/bpf.js")>("sys/bpf.js");

/** Loads the filter. One that asks somebody goes on when its listener has got there: until then no call would be answered. */
export function loadFilter(channel: ChildEnd, { program, flags, listener }: Filter): void {
  if (listener === undefined) return void bpf().installSeccomp(program, flags);
  const next = fcntl(channel.fd, F.DUPFD_CLOEXEC, 0); // the number that the listener will have
  new Fd(next).close();
  const tell = channel.notifier(next);
  const fd = bpf().installSeccomp(program, flags);
  tell();
  if (!channel.wait("go")) exitGroup(1);
  new Fd(fd).close();
}
