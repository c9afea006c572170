// A valid configuration that uses nearly every property for Linux: what fuzzing starts from.
const hook = [{ path: "/bin/true", args: ["true", "a"], env: ["A=b"], timeout: 5 }];
const rates = [{ major: 8, minor: 0, rate: 1048576 }];

export const FULL_CONFIG = {
  ociVersion: "1.3.0",
  process: {
    terminal: true, consoleSize: { height: 25, width: 80 }, user: { uid: 0, gid: 0, umask: 18, additionalGids: [0, 5] }, args: ["sh", "-c", "true"], env: ["PATH=/bin", "TERM=xterm"], cwd: "/",
    capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"], inheritable: [], ambient: [] }, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 512 }],
    noNewPrivileges: true, apparmorProfile: "", oomScoreAdj: 100, selinuxLabel: "", scheduler: { policy: "SCHED_BATCH", nice: 1, flags: ["SCHED_FLAG_RESET_ON_FORK"] }, ioPriority: { class: "IOPRIO_CLASS_BE", priority: 4 },
  },
  root: { path: "/b/rootfs", readonly: true }, hostname: "host", domainname: "domain",
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" }, { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "ro"] },
    { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "gid=5"] }, { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] }, { destination: "/data", type: "bind", source: "data", options: ["rbind", "rro", "rslave"] },
    { destination: "/mapped", source: "/b/data", options: ["bind", "idmap"], uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }], gidMappings: [{ containerID: 0, hostID: 1000, size: 10 }] },
    { destination: "/copy", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] },
  ],
  hooks: { prestart: hook, createRuntime: hook, createContainer: hook, startContainer: hook, poststart: hook, poststop: hook },
  annotations: { "org.example.a": "b" },
  linux: {
    uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }], gidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }], sysctl: { "net.ipv4.ip_forward": "1", "kernel.msgmax": "8192" }, cgroupsPath: "/fuzz/a",
    namespaces: ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"].map((type) => ({ type })),
    devices: [{ path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 438, uid: 0, gid: 0 }, { path: "/dev/pipe", type: "p" }],
    resources: {
      devices: [{ allow: false, access: "rwm" }, { allow: true, type: "c", major: 10, minor: 229, access: "rw" }],
      memory: { limit: 104857600, reservation: 52428800, swap: 209715200, kernel: -1, kernelTCP: -1, swappiness: 0, disableOOMKiller: false, useHierarchy: true, checkBeforeUpdate: true },
      cpu: { shares: 1024, quota: 50000, period: 100000, burst: 1000, idle: 0, realtimeRuntime: 0, realtimePeriod: 0, cpus: "0", mems: "0" }, pids: { limit: 100 },
      blockIO: { weight: 100, leafWeight: 0, weightDevice: [{ major: 8, minor: 0, weight: 100 }], throttleReadBpsDevice: rates, throttleWriteBpsDevice: rates, throttleReadIOPSDevice: rates, throttleWriteIOPSDevice: rates },
      hugepageLimits: [{ pageSize: "2MB", limit: 0 }], network: { classID: 0, priorities: [{ name: "lo", priority: 1 }] }, rdma: { mlx: { hcaHandles: 3, hcaObjects: 4 } }, unified: {},
    },
    seccomp: {
      defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 0, architectures: ["SCMP_ARCH_X86_64"], flags: ["SECCOMP_FILTER_FLAG_LOG"], listenerPath: "", listenerMetadata: "",
      syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 1, args: [{ index: 0, value: 1, valueTwo: 2, op: "SCMP_CMP_EQ" }] }],
    },
    rootfsPropagation: "slave", maskedPaths: ["/proc/kcore"], readonlyPaths: ["/proc/sys"], mountLabel: "", timeOffsets: { monotonic: { secs: 10, nanosecs: 5 }, boottime: { secs: -1 } }, personality: { domain: "LINUX", flags: [] },
    memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] }, intelRdt: { closID: "a", l3CacheSchema: "L3:0=f", memBwSchema: "MB:0=20", schemata: ["L2:0=f"], enableMonitoring: true }, netDevices: { eth7: { name: "eth0" } },
  },
};
