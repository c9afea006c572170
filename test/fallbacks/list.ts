// What the agent does otherwise where a kernel, a file system or a caller's filter has not what it asks for first: each forced by a fault
// (KATA_FAULTS, agent/sys/faults.ts), and the host tests that must pass all the same.

export interface Fallback {
  readonly name: string;
  /** As KATA_FAULTS has it. */
  readonly faults: string;
  /** Where one meets it without a fault. */
  readonly where: string;
  /** What is done instead, and in which file of agent/. */
  readonly instead: string;
  readonly file: string;
  /** Tests of test/host, by the beginning of the file's name. */
  readonly tests: readonly string[];
  /** Tests that are left out: they are of what is missing. A regular expression of titles, and why. */
  readonly without?: { readonly titles: string; readonly because: string };
  /** It is part of `make test`, with the one test of this title. */
  readonly short?: string;
}

const SANITISERS = "RLIMIT_AS|RLIMIT_DATA";

export const FALLBACKS: readonly Fallback[] = [
  {
    name: "no stub", faults: "execveat:EPERM", where: "a caller's filter that forbids execveat", file: "engine/child/exec-stub.ts", tests: ["oci-seccomp", "engine-process"],
    instead: "the first process executes its program directly; one that goes into a pid namespace with others in it is refused, since nothing of the engine may be in there",
    without: { titles: "further process|its execs|one pid namespace|in a user namespace is its root|an exec's terminal|leaves nothing behind", because: "they go into a pid namespace with others in it" },
    short: "needs of the program no calls but its own, with no_new_privs",
  },
  {
    name: "memory files without MFD_EXEC", faults: "memfd_create[1&0x10]:EINVAL", where: "before Linux 6.3", file: "sys/memfd.ts", tests: ["engine-process", "go-inside"],
    instead: "the file is made without the flag: all may be executed there",
    without: { titles: SANITISERS, because: "the sanitizers take memory themselves" }, short: "has only the environment that was given, HOME added, the last of two values",
  },
  {
    name: "no cgroup.kill", faults: "openat2[cgroup.kill]:ENOENT", where: "before Linux 5.14", file: "engine/cgroup/v2.ts", tests: ["engine-cgroup", "groups-below"],
    instead: "the group is frozen, each process killed by its number, and thawed",
    without: { titles: "in thousands|threaded groups of its own", because: "with sanitizers thousands of groups take longer than the test has" }, short: "takes every process with it, also those that left their session",
  },
  {
    name: "cgroup.kill is refused", faults: "openat2[cgroup.kill]:EOPNOTSUPP", where: "a threaded group", file: "engine/cgroup/v2.ts", tests: ["engine-cgroup"], instead: "the same",
  },
  {
    name: "no copies of device nodes", faults: "open_tree[node]:EINVAL", where: "before Linux 6.15", file: "engine/birth/detached-mounts.ts", tests: ["oci-userns"],
    instead: "a user namespace's devices are binds of the machine's own", without: { titles: "has devices of its own", because: "the machine has no such devices to be bound" },
  },
  {
    name: "no device nodes", faults: "mknodat[2&0x2000]:EPERM", where: "in a user namespace, or in a container that may not make them", file: "engine/child/devices.ts, root-tree.ts", tests: ["engine-security", "oci-devices"],
    instead: "the agent's own device is bound, if it is the same; what masks a file is the agent's null device, looked at first",
    without: { titles: "are made where they are asked for", because: "the agent has no such devices to be bound" },
  },
  {
    name: "no keyrings", faults: "keyctl:ENOSYS", where: "a kernel without CONFIG_KEYS", file: "engine/child/keyring.ts", tests: ["oci-labels", "engine-process"],
    instead: "a process has none", without: { titles: "share a session keyring", because: "there is none" },
  },
  {
    name: "no more keys", faults: "keyctl:EDQUOT@3+", where: "a user who has as many keys as he may", file: "engine/child/keyring.ts", tests: ["engine-process"], instead: "under an agent a process has none; a command says why it cannot go on",
  },
  {
    name: "cgroup mounts are refused", faults: "mount[=cgroup2]:EPERM,mount[=cgroup]:EPERM", where: "a user namespace that does not own the cgroup namespace", file: "engine/child/cgroup-mount.ts", tests: ["oci-cgroup", "engine-cgroup"],
    instead: "the group's folder is bound",
  },
  { name: "a hierarchy that is in use otherwise", faults: "mount[=cgroup]:EBUSY", where: "version 1, mounted with other options", file: "engine/child/cgroup-mount.ts", tests: ["oci-cgroup"], instead: "the same" },
  {
    name: "no list of files to delegate", faults: "openat[cgroup/delegate]:ENOENT,openat2[cgroup/delegate]:ENOENT", where: "before Linux 4.15", file: "engine/cgroup/v2.ts", tests: ["oci-cgroup-v2"], instead: "the three files of the document are handed over",
  },
  {
    name: "resctrl without reasons", faults: "openat[last_cmd_status]:ENOENT,openat2[last_cmd_status]:ENOENT", where: "before Linux 4.16", file: "engine/resctrl.ts", tests: ["oci-resctrl"], instead: "the errno alone is told",
    without: { titles: "tells its reason", because: "there is none" },
  },
  {
    name: "no IPv4", faults: "socket[0&2]:EAFNOSUPPORT", where: "a kernel without CONFIG_INET", file: "lib/loopback.ts", tests: ["engine-process", "oci-network"], instead: "there is no loopback to be brought up",
    without: { titles: "with the addresses that somebody gave it", because: "the loopback has none" },
  },
  { name: "files without SEEK_DATA", faults: "lseek[2&3]:EINVAL", where: "some network file systems", file: "engine/child/rare-mounts.ts", tests: ["oci-mounts"], instead: "all is copied as data" },
  {
    name: "no flags of files", faults: "ioctl[1&0x80086601]:ENOTTY", where: "most network file systems, tmpfs before Linux 6.6", file: "lib/remove-tree.ts", tests: ["removal"], instead: "what cannot be removed stays, with its reason",
    without: { titles: "immutable|100,000|300 folders", because: "there is no such flag to take away; the large trees have none" },
  },
  {
    name: "rename without NOREPLACE", faults: "renameat2[4&1]:EINVAL", where: "9p, NFS, some FUSE file systems", file: "lib/remove-tree.ts", tests: ["removal"], instead: "what bears the name in the tree that goes is replaced, if it is empty",
  },
  {
    name: "the tree changes while a path is resolved", faults: "openat2:EAGAIN@3,openat2:EAGAIN@10,openat2:EAGAIN@20", where: "a rename or a mount at the same time", file: "sys/file.ts", tests: ["engine-process"], instead: "it is asked again, 32 times",
  },
  { name: "signals by pidfd are refused", faults: "pidfd_send_signal:ENOSYS", where: "a caller's filter", file: "sys/process.ts, engine/birth/newborn.ts", tests: ["oci-cli"], instead: "the engine's own children are killed by their number; a signal that is asked for fails with its reason", without: { titles: "kill|signal|delete|pidfd|end|kept", because: "they ask for a signal" } },
  { name: "no inotify", faults: "inotify_init1:ENOSYS", where: "a kernel without CONFIG_INOTIFY_USER, or no more instances", file: "engine/cgroup/oom.ts", tests: ["engine-cgroup"], instead: "kills for want of memory are looked for every second" },
];

/** What there is no other way for: it fails with the call's name. Linux 5.12 has all of them. */
export const NEEDED: readonly (readonly [call: string, since: string])[] = [
  ["clone3", "5.3, CLONE_INTO_CGROUP 5.7"], ["openat2", "5.6"], ["pidfd_open", "5.3"], ["pidfd_getfd", "5.6"], ["faccessat2", "5.8"], ["close_range", "5.9"],
  ["open_tree", "5.2"], ["move_mount", "5.2"], ["fsopen", "5.2"], ["mount_setattr", "5.12"], ["pivot_root", "2.3.41; `--no-pivot` for an initramfs"],
];
