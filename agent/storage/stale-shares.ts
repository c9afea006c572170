// Mounts below the share that the host has taken away: looking at them makes virtio-fs forget them (agent-api 8.13).
import { Statx } from "../abi/layouts.js";
import { AT, STATX } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { aside } from "../lib/foreign.js";
import { listMounts } from "../lib/mountinfo.js";

const SHARE = "/run/kata-containers/shared/containers/";
const DEADLINE_MS = 10_000;

/** Looks at every mount point below the share, in a child: the host may not answer. */
export async function removeStaleShares(): Promise<void> {
  const points = listMounts().map((m) => m.point).filter((p) => p.startsWith(SHARE));
  if (points.length === 0) return;
  await aside("look at the shared mounts", DEADLINE_MS, (_off) => {
    for (const point of points) sys(NR.statx, AT.FDCWD, point, 0, STATX.BASIC_STATS, new Uint8Array(Statx.SIZE));
    return null;
  });
}
