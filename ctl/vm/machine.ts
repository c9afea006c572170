// A virtual machine as data, and the QEMU command line made of it. Pure; it owns every QEMU word used by the host side.
// Sources: QEMU 7.2 system emulation manual (microvm, invocation), vhost-user and virtio device options.

export type MachineType = "q35" | "microvm";
export type Accel = "kvm" | "tcg";

/** How the host reaches the agent, as far as QEMU is concerned. */
export type Wire =
  | { kind: "vhost-vsock"; cid: number }
  | { kind: "vhost-user-vsock"; socket: string }
  | { kind: "serial"; socket: string };

export interface Machine {
  type: MachineType;
  accel: Accel;
  memoryMiB: number;
  cpus: number;
  kernel: string;
  initrd?: string | undefined;
  /** Disk images, in the guest /dev/vda, /dev/vdb, ...; read-only ones may be shared between VMs. */
  disks: { file: string; readOnly: boolean }[];
  wire: Wire;
  /** A folder of the host through virtio-fs: the socket of its daemon. */
  virtiofs?: { socket: string; tag: string } | undefined;
  /** A folder of the host through 9p. */
  ninep?: { folder: string; tag: string } | undefined;
  /** Socket of QEMU's monitor, when somebody asks it. */
  monitor?: string | undefined;
  /** Words of the kernel command line. */
  append: string[];
  /** Further QEMU words, as they are. */
  extra: string[];
}

/** Name of the virtio-serial port that carries ttRPC. */
export const SERIAL_PORT_NAME = "org.kata.agent.0";

/** Device of that port in the guest: the first port of the first virtio device. */
export const SERIAL_GUEST_DEVICE = "/dev/vport0p1";

// A comma inside an option value is written twice.
const value = (text: string): string => text.replaceAll(",", ",,");

const sharesMemory = (machine: Machine): boolean => machine.wire.kind === "vhost-user-vsock" || machine.virtiofs !== undefined;

const wireArgs = (machine: Machine, device: (name: string) => string): string[] => {
  const wire = machine.wire;
  if (wire.kind === "vhost-vsock") return ["-device", `${device("vhost-vsock")},guest-cid=${wire.cid}`];
  if (wire.kind === "vhost-user-vsock") {
    return ["-chardev", `socket,id=vsock0,path=${value(wire.socket)}`, "-device", `${device("vhost-user-vsock")},chardev=vsock0`];
  }
  return [
    "-chardev", `socket,id=agent0,path=${value(wire.socket)},server=on,wait=off`,
    "-device", device("virtio-serial"), "-device", `virtserialport,chardev=agent0,name=${SERIAL_PORT_NAME}`,
  ];
};

// Both machines' guests name disks in the order given here (tried with QEMU 7.2).
const diskArgs = (machine: Machine, device: (name: string) => string): string[] =>
  machine.disks.flatMap((disk, i) => [
    "-drive", `file=${value(disk.file)},if=none,id=disk${i},format=raw,cache=unsafe,readonly=${disk.readOnly ? "on" : "off"}`,
    "-device", `${device("virtio-blk")},drive=disk${i},serial=disk${i}`,
  ]);

const shareArgs = (machine: Machine, device: (name: string) => string): string[] => [
  ...(machine.virtiofs === undefined ? [] : [
    "-chardev", `socket,id=fs0,path=${value(machine.virtiofs.socket)}`, "-device", `${device("vhost-user-fs")},chardev=fs0,tag=${value(machine.virtiofs.tag)},queue-size=1024`,
  ]),
  ...(machine.ninep === undefined ? [] : [
    "-fsdev", `local,id=ninep0,path=${value(machine.ninep.folder)},security_model=passthrough,multidevs=remap`,
    "-device", `${device("virtio-9p")},fsdev=ninep0,mount_tag=${value(machine.ninep.tag)}`,
  ]),
];

/** Command line of QEMU for this machine, without the program's name. The console comes out on stdout. */
export const qemuArgs = (machine: Machine): string[] => {
  const bus = machine.type === "microvm" ? "device" : "pci";
  const device = (name: string): string => `${name}-${bus}`;
  const board = machine.type === "microvm" ? "microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on" : "q35,smm=off,vmport=off";
  return [
    "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
    "-machine", `${board}${sharesMemory(machine) ? ",memory-backend=mem0" : ""}`,
    // Daemons of vhost-user devices refuse the old form of virtio that virtio-mmio has by default.
    ...(machine.type === "microvm" ? ["-global", "virtio-mmio.force-legacy=false"] : []),
    // Emulated processors take turns: in threads of their own one may still run what another has just patched, and the kernel stops ("Oops: int3").
    "-accel", machine.accel === "kvm" ? "kvm" : "tcg,thread=single",
    "-cpu", machine.accel === "kvm" ? "host" : "max",
    "-m", `${machine.memoryMiB}M`, "-smp", String(machine.cpus),
    ...(sharesMemory(machine) ? ["-object", `memory-backend-memfd,id=mem0,size=${machine.memoryMiB}M,share=on`] : []),
    ...(machine.monitor === undefined ? [] : ["-qmp", `unix:${value(machine.monitor)},server=on,wait=off`]),
    "-chardev", "stdio,id=console0,signal=off", "-serial", "chardev:console0",
    "-kernel", machine.kernel, ...(machine.initrd === undefined ? [] : ["-initrd", machine.initrd]),
    "-append", machine.append.join(" "),
    // The wire comes first: a serial port's name in the guest has the number of its virtio device in it (SERIAL_GUEST_DEVICE).
    ...wireArgs(machine, device), ...diskArgs(machine, device), ...shareArgs(machine, device), ...machine.extra,
  ];
};

export interface KernelLine {
  type: MachineType;
  wire: Wire;
  /** The root file system is the first disk, of this type; else it is the initrd. */
  rootFstype?: string | undefined;
  /** Further words; a word of ours with the same name gives way. */
  append: string[];
}

/** Words of the kernel command line for a guest of ours. */
export const kernelWords = (line: KernelLine): string[] => {
  const own = [
    "console=ttyS0", "quiet", "panic=-1", `reboot=${line.type === "microvm" ? "t" : "k"}`, "swiotlb=noforce", "tsc=reliable", "no_timer_check",
    "cgroup_no_v1=all", "systemd.unified_cgroup_hierarchy=1",
    ...(line.rootFstype === undefined ? [] : ["root=/dev/vda", `rootfstype=${line.rootFstype}`, "ro", "rootwait", "init=/sbin/init"]),
    `agent.server_addr=${line.wire.kind === "serial" ? `serial://${SERIAL_GUEST_DEVICE}` : "vsock://-1:1024"}`,
  ];
  const named = new Set(line.append.map((word) => word.split("=", 1)[0]));
  return [...own.filter((word) => !named.has(word.split("=", 1)[0])), ...line.append];
};
