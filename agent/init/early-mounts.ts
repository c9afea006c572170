// The file systems, links and cgroups that PID 1 makes before anything else runs, as a table. A failure stops the boot with
// the line that failed. Order matters: a later entry may lie inside an earlier one.
import { AT, MAGIC, MS } from "../abi/flags.js";
import { check, isErrno, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { chdir, statfs, symlinkat, unlinkat } from "../sys/file.js";
import { chroot, mount } from "../sys/mount.js";
import { NR } from "../abi/nr.js";
import { attempt, messageOf } from "../lib/errors.js";
import { mkdirs, readText } from "../lib/fs.js";
import { errorLine } from "../lib/log.js";
import { lines } from "../lib/text.js";

type EarlyMount = readonly [type: string, at: string, flags: number, data?: string];

const TABLE: readonly EarlyMount[] = [
  ["proc", "/proc", MS.NOSUID | MS.NODEV | MS.NOEXEC],
  ["sysfs", "/sys", MS.NOSUID | MS.NODEV | MS.NOEXEC],
  ["devtmpfs", "/dev", MS.NOSUID],
  ["tmpfs", "/dev/shm", MS.NOSUID | MS.NODEV],
  ["devpts", "/dev/pts", MS.NOSUID | MS.NOEXEC, "ptmxmode=0666,mode=0620,gid=5"],
  ["tmpfs", "/run", MS.NOSUID | MS.NODEV, "mode=0755"],
];
const V2: EarlyMount = ["cgroup2", "/sys/fs/cgroup", MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.RELATIME, "nsdelegate"];
const V1_KNOWN = ["cpu", "cpuacct", "blkio", "cpuset", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb", "pids", "rdma"];

function mountOne([type, at, flags, data]: EarlyMount): void {
  attempt(`mount ${type} on ${at}`, () => {
    const first = sys(NR.mount, type, at, type, flags, data ?? null);
    if (first === -E.EBUSY) return; // the kernel mounted it already (devtmpfs with a root on a block device)
    if (first === -E.ENOENT) {
      mkdirs(at);
      mount(type, at, type, flags, data);
    } else check("mount", first);
  });
}

/**
 * Leaves the initramfs' own root for a bind mount of the same files on top of it. pivot_root(2) refuses to work in a
 * namespace whose root has no parent mount; with this one mount more every container can pivot.
 */
function leaveRootfs(): void {
  const type = statfs("/").type;
  if (type !== MAGIC.TMPFS_MAGIC && type !== MAGIC.RAMFS_MAGIC) return;
  attempt("bind the initramfs root onto itself", () => {
    mount("/", "/run", undefined, MS.BIND);
    chdir("/run");
    mount(".", "/", undefined, MS.MOVE);
    chroot(".");
    chdir("/");
  });
}

function cgroupV1(): void {
  mountOne(["tmpfs", "/sys/fs/cgroup", MS.NOSUID | MS.NODEV | MS.NOEXEC, "mode=755"]);
  for (const line of lines(readText("/proc/cgroups"))) {
    const [name = "", , , enabled] = line.split("\t");
    if (enabled !== "1" || !V1_KNOWN.includes(name)) continue;
    try {
      mountOne(["cgroup", `/sys/fs/cgroup/${name}`, MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.RELATIME, name]);
    } catch (error) {
      errorLine(`kata-agent: without the cgroup controller ${name}: ${messageOf(error)}`); // the kernel has it for version 2 only
      sys(NR.unlinkat, AT.FDCWD, `/sys/fs/cgroup/${name}`, AT.REMOVEDIR);
    }
  }
  mount("tmpfs", "/sys/fs/cgroup", "tmpfs", MS.REMOUNT | MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC, "mode=755");
}

/** Mounts /proc, /sys, /dev, /dev/shm, /dev/pts and /run. */
export function mountEarly(): void {
  leaveRootfs();
  for (const entry of TABLE) mountOne(entry);
  try {
    unlinkat(AT.FDCWD, "/dev/ptmx");
  } catch (error) {
    if (!isErrno(error, E.ENOENT)) throw error;
  }
  attempt("link /dev/ptmx", () => symlinkat("/dev/pts/ptmx", AT.FDCWD, "/dev/ptmx"));
  for (const [name, to] of [["fd", "/proc/self/fd"], ["stdin", "fd/0"], ["stdout", "fd/1"], ["stderr", "fd/2"]] as const) {
    sys(NR.symlinkat, to, AT.FDCWD, `/dev/${name}`);
  }
}

/** Mounts the unified cgroup hierarchy, or every enabled version 1 controller. */
export function mountCgroups(v1: boolean): void {
  if (v1) cgroupV1();
  else mountOne(V2);
}
