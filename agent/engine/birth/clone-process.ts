// What every new process of a container is born with: its streams, the channel to it, its cgroup's folder. The child's ends are
// the parent's only until the clone; whatever goes wrong before or after it, no descriptor and no half-made child stays.
import { isErrno } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import type { Fd } from "../../sys/fd.js";
import { type Cloned, killOwn } from "../../sys/process.js";
import { AppError, because } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import type { Cgroup } from "../cgroup/group.js";
import type { Ends } from "../child/args.js";
import { type Channel, type ChildEnd, pair } from "../handshake.js";
import type { Stdio, Streams } from "../stdio/streams.js";
import type { SpawnPlace } from "../namespace.js";
import { spawn } from "./spawn.js";

const io = lazy<typeof import("../stdio/streams.js")>("engine/stdio/streams.js");

export interface BirthArgs {
  readonly place: Omit<SpawnPlace, "cgroup">;
  readonly cgroup: Cgroup;
  /** A process of the container, whose cgroup is taken when the container's own cannot be entered any more. */
  readonly like?: number;
  /** The size of new pipes in bytes (0: the kernel's); undefined when there are to be none: a terminal, or the caller's own streams. */
  readonly pipes: number | undefined;
  /** The child's ends where there are to be no pipes. */
  readonly ends?: Ends | undefined;
  /** The child's half; it never comes back. */
  readonly child: (channel: ChildEnd, ends: Ends | undefined) => never;
  /** What the parent does right after the clone; when it throws, the child is killed. */
  readonly cloned?: (cloned: Cloned, channel: Channel) => void;
}

/** A child that has just been made, with what leads to it. */
export interface Newborn { readonly cloned: Cloned; readonly channel: Channel; readonly streams: Streams | undefined }

/** Kills a child of which there is to be no record, and closes what leads to it; the loop reaps it. */
export function disown({ cloned, channel, streams }: Newborn): void {
  killOwn(cloned);
  cloned.pidfd.close();
  channel.close();
  streams?.close();
}

/** Makes the child. Throws what failed, with nothing left behind; a killed child is reaped by the loop. */
export function birth({ place, cgroup, like, pipes, ends: given, child, cloned: after }: BirthArgs): Newborn {
  let stdio: Stdio | undefined;
  let ends: { parent: Channel; child: ChildEnd } | undefined;
  let folder: Fd | undefined;
  let cloned: Cloned | undefined;
  try {
    if (pipes !== undefined) stdio = io().makeStdio({ pipeSize: pipes });
    const made = (ends = pair());
    folder = cgroup.dirFd();
    const into = (): Cloned => spawn({ ...place, cgroup: folder }, () => child(made.child, stdio ?? given));
    try {
      cloned = into();
    } catch (error) {
      // groups of its own below it that have controllers, or threads (cgroup-v2.rst), or it is gone
      if (like === undefined || !isErrno(error, E.EBUSY, E.ENODEV, E.EOPNOTSUPP)) throw error;
      folder?.close();
      folder = cgroup.dirFd(like);
      if (folder === undefined) throw because(`error adding pid of the process to cgroups: ${cgroup.path}/cgroup.procs`, isErrno(error, E.EBUSY) ? new AppError("internal", "device or resource busy") : error);
      cloned = into();
    }
    after?.(cloned, made.parent);
    return { cloned, channel: made.parent, streams: stdio?.streams };
  } catch (error) {
    if (cloned !== undefined && ends !== undefined) disown({ cloned, channel: ends.parent, streams: stdio?.streams });
    else {
      ends?.parent.close();
      stdio?.streams.close();
    }
    throw error;
  } finally {
    ends?.child.fd.close();
    folder?.close();
    for (const fd of stdio === undefined ? [] : [stdio.stdin, stdio.stdout, stdio.stderr]) fd.close();
  }
}
