// Owns which symbols of a kernel's configuration each feature of the agent and its containers needs. Pure: a configuration in, what would
// not work out. A symbol that a kernel of that version does not know yet, or does not need, is not missed.
import { parseConfig } from "./kconfig.js";

export interface Feature {
  readonly name: string;
  /** Without it there is no guest, or nobody reaches it. */
  readonly must?: true;
  /** All of them, "A|B" for either; "A@6.11": only since that version of Linux. */
  readonly needs: string;
}

export const FEATURES: readonly Feature[] = [
  { name: "start from an initrd", must: true, needs: "BLK_DEV_INITRD BINFMT_ELF DEVTMPFS PROC_FS SYSFS TMPFS TTY UNIX98_PTYS" },
  { name: "the agent's event loop", must: true, needs: "EPOLL SIGNALFD EVENTFD FUTEX POSIX_TIMERS UNIX NET INOTIFY_USER FILE_LOCKING" },
  { name: "console on a serial port", needs: "SERIAL_8250 SERIAL_8250_CONSOLE" },
  { name: "devices on PCI", needs: "PCI VIRTIO_PCI" },
  { name: "devices on MMIO", needs: "VIRTIO_MMIO" },
  { name: "devices on MMIO named on the command line (QEMU microvm and Firecracker without ACPI)", needs: "VIRTIO_MMIO VIRTIO_MMIO_CMDLINE_DEVICES" },
  { name: "boot of the ELF kernel (vmlinux)", needs: "PVH" },
  { name: "API over vsock", needs: "VSOCKETS VIRTIO_VSOCKETS" },
  { name: "API over virtio-serial", needs: "VIRTIO_CONSOLE" },
  { name: "disks by virtio-blk", needs: "BLOCK VIRTIO_BLK" },
  { name: "disks by SCSI", needs: "SCSI BLK_DEV_SD SCSI_VIRTIO" },
  { name: "NVDIMM", needs: "LIBNVDIMM BLK_DEV_PMEM ACPI_NFIT|VIRTIO_PMEM FS_DAX" },
  { name: "ext4", needs: "EXT4_FS" },
  { name: "erofs", needs: "EROFS_FS" },
  { name: "squashfs", needs: "SQUASHFS" },
  { name: "overlays", needs: "OVERLAY_FS" },
  { name: "folders of the host by virtio-fs", needs: "FUSE_FS VIRTIO_FS" },
  { name: "folders of the host by 9p", needs: "NET_9P NET_9P_VIRTIO 9P_FS" },
  { name: "dm-verity", needs: "BLK_DEV_DM DM_VERITY" },
  { name: "device mapper on the command line (measured root)", needs: "BLK_DEV_DM DM_VERITY DM_INIT" },
  { name: "namespaces of processes, mounts, host names, IPC and networks", must: true, needs: "NAMESPACES PID_NS UTS_NS IPC_NS NET_NS" },
  { name: "user namespaces and id-mapped mounts", needs: "USER_NS" },
  { name: "time namespaces", needs: "TIME_NS" },
  { name: "cgroups", must: true, needs: "CGROUPS" },
  { name: "memory limits", needs: "MEMCG" },
  { name: "processor limits", needs: "CGROUP_SCHED FAIR_GROUP_SCHED CFS_BANDWIDTH" },
  { name: "processor sets", needs: "CPUSETS" },
  { name: "limits of processes", needs: "CGROUP_PIDS" },
  { name: "limits of block I/O", needs: "BLK_CGROUP BLK_DEV_THROTTLING" },
  { name: "limits of huge pages", needs: "HUGETLBFS CGROUP_HUGETLB" },
  { name: "device rules", needs: "BPF_SYSCALL CGROUP_BPF" },
  { name: "cgroup version 1", needs: "CGROUP_FREEZER CGROUP_DEVICE CGROUP_CPUACCT MEMCG_V1@6.11 CPUSETS_V1@6.12" },
  { name: "seccomp", needs: "SECCOMP SECCOMP_FILTER" },
  { name: "AppArmor", needs: "SECURITY_APPARMOR" },
  { name: "SELinux", needs: "SECURITY_SELINUX" },
  { name: "session keyrings", needs: "KEYS" },
  { name: "message queues and System V IPC", needs: "POSIX_MQUEUE SYSVIPC" },
  { name: "network interfaces by virtio-net", needs: "INET VIRTIO_NET" },
  { name: "IPv6", needs: "IPV6" },
  { name: "veth pairs", needs: "VETH" },
  { name: "nftables", needs: "NF_TABLES NF_TABLES_INET NF_CONNTRACK NF_NAT NFT_CT NFT_NAT NFT_MASQ" },
  { name: "iptables on nftables", needs: "NF_TABLES NFT_COMPAT NETFILTER_XTABLES" },
  { name: "iptables, old tables", needs: "IP_NF_IPTABLES IP_NF_FILTER IP_NF_NAT IP6_NF_IPTABLES IP6_NF_FILTER" },
  { name: "devices that are plugged in on PCI", needs: "HOTPLUG_PCI HOTPLUG_PCI_PCIE|HOTPLUG_PCI_ACPI|HOTPLUG_PCI_SHPC" },
  { name: "processors that are plugged in", needs: "SMP HOTPLUG_CPU ACPI_HOTPLUG_CPU" },
  { name: "memory that is plugged in", needs: "MEMORY_HOTPLUG ACPI_HOTPLUG_MEMORY|VIRTIO_MEM" },
  { name: "balloon", needs: "VIRTIO_BALLOON" },
  { name: "swap", needs: "SWAP" },
  { name: "random numbers of the host", needs: "HW_RANDOM_VIRTIO" },
  { name: "the host's clock (PTP)", needs: "PTP_1588_CLOCK_KVM" },
  { name: "power button", needs: "ACPI_BUTTON" },
  { name: "other programs' binaries (binfmt_misc)", needs: "BINFMT_MISC" },
];

export interface Verdict {
  /** The kernel's version as its configuration tells it; empty when it does not. */
  readonly version: string;
  readonly broken: readonly { readonly feature: string; readonly must: boolean; readonly missing: readonly string[] }[];
  /** Symbols that are modules: the guest's root has to hold them. */
  readonly modules: readonly string[];
}

const TRANSPORTS = ["API over vsock", "API over virtio-serial"];

/** The newest version of Linux a text like "6.12" names is at least `since`; an unknown one is taken for new. */
function atLeast(version: string, since: string): boolean {
  if (version === "") return true;
  const [a, b] = [version, since].map((text) => text.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < 2; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) > (b[i] ?? 0);
  return true;
}

/** Holds a configuration against what the agent needs. */
export function judge(config: string, features: readonly Feature[] = FEATURES): Verdict {
  const values = parseConfig(config);
  const version = /^# Linux\/\S+ (\d+\.\d+\S*) Kernel Configuration$/m.exec(config)?.[1] ?? "";
  const on = (symbol: string): boolean => values.get(symbol) === "y" || (values.get(symbol) === "m" && values.get("MODULES") === "y");
  const modules = new Set<string>();
  const lacks = (need: string): boolean => {
    const [names = "", since] = need.split("@");
    if (since !== undefined && !atLeast(version, since)) return false;
    const there = names.split("|").filter(on);
    if (there.length > 0 && there.every((name) => values.get(name) === "m")) modules.add(there[0] as string);
    return there.length === 0;
  };
  const broken = features.flatMap(({ name, must, needs }) => {
    const missing = needs.split(" ").filter(lacks).map((need) => (need.split("@")[0] ?? "").split("|").map((symbol) => `CONFIG_${symbol}`).join(" or "));
    return missing.length === 0 ? [] : [{ feature: name, must: must === true, missing }];
  });
  const unreachable = TRANSPORTS.every((name) => broken.some((b) => b.feature === name));
  return { version, broken: broken.map((b) => (unreachable && TRANSPORTS.includes(b.feature) ? { ...b, must: true } : b)), modules: [...modules].sort().map((m) => `CONFIG_${m}`) };
}
