// `doctor`: what this machine has for running VMs and containers, and what to do about what is missing. It changes nothing and boots
// nothing but the test guest that tells whether KVM works, which a run would boot too.
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheFolder, distFile } from "../../tools/places.js";
import { chooseAccel } from "../vm/accel.js";
import { findQemu, readyKernel } from "../vm/boot.js";
import { findVirtiofsd } from "../vm/share.js";
import { findCargo, findVsockDaemon } from "../vm/vsock-daemon.js";
import { sizeText } from "./options.js";

export interface Finding {
  readonly name: string;
  /** "poor": works, but slower or with less than it could; "missing": nothing can be run without. */
  readonly state: "good" | "poor" | "missing";
  readonly found: string;
  /** What to do about it. */
  readonly todo?: string;
}

const first = (file: string, ...args: string[]): string => {
  try {
    return execFileSync(file, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 10_000 }).split("\n")[0] ?? "";
  } catch {
    return "does not tell its version";
  }
};

const qemu = (): Finding => {
  const file = findQemu();
  return file === undefined
    ? { name: "QEMU", state: "missing", found: "no qemu-system-x86_64 in PATH", todo: "apt-get install qemu-system-x86 (or: make run, which does)" }
    : { name: "QEMU", state: "good", found: first(file, "--version") };
};

const kvm = async (): Promise<Finding> => {
  const [program, kernel] = [findQemu(), readyKernel()];
  if (program === undefined || kernel === undefined) return { name: "KVM", state: "poor", found: "not tried: that needs QEMU and a kernel" };
  const { accel, why } = await chooseAccel(program, kernel);
  if (accel === "kvm") return { name: "KVM", state: "good", found: why };
  return {
    name: "KVM", state: "poor", found: `${why}; QEMU emulates, ten to twenty times slower`,
    todo: why.includes("no /dev/kvm") ? "on real hardware: modprobe kvm_intel or kvm_amd; in a VM: switch nested virtualisation on in its host" : why.includes("opened") ? "be in the group that owns /dev/kvm" : "switch nested virtualisation on in the host of this machine",
  };
};

const vsock = (): Finding => {
  const name = "vsock";
  if (existsSync("/dev/vhost-vsock")) return { name, state: "good", found: "/dev/vhost-vsock" };
  const daemon = findVsockDaemon();
  if (daemon !== undefined) return { name, state: "good", found: `vhost-device-vsock (there is no /dev/vhost-vsock)` };
  return { name, state: "poor", found: "neither /dev/vhost-vsock nor vhost-device-vsock: virtio-serial is used", todo: findCargo() === undefined ? "modprobe vhost_vsock" : "modprobe vhost_vsock, or let --transport vsock build the daemon once" };
};

const share = (): Finding => {
  const file = findVirtiofsd();
  return file === undefined ? { name: "virtio-fs", state: "poor", found: "no virtiofsd: folders are shared by 9p alone", todo: "apt-get install virtiofsd (or qemu-system-common)" } : { name: "virtio-fs", state: "good", found: file };
};

const built = (name: string, file: string, how: string): Finding =>
  existsSync(distFile(file)) ? { name, state: "good", found: `${file}, ${sizeOf(distFile(file))}` } : { name, state: "missing", found: `there is no ${file} in ${dirname(distFile(file))}`, todo: how };

const sizeOf = (file: string): string => `${(statSync(file).size / 1e6).toFixed(2)} MB`;

const kernel = (): Finding => {
  const cached = readdirSafe(join(cacheFolder(), "kernel")).filter((entry) => !entry.startsWith(".")).length;
  const file = readyKernel();
  const more = `; ${cached} in the cache`;
  return file === undefined ? { name: "kernel", state: "missing", found: `none is ready${more}`, todo: "make run (a ready-made one), or make kernel (our own, compiled)" } : { name: "kernel", state: "good", found: `${file}, ${sizeOf(file)}${more}` };
};

const readdirSafe = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

const groups = (): Finding => {
  const name = "control groups";
  if (existsSync("/sys/fs/cgroup/cgroup.controllers")) return { name, state: "good", found: `version 2: ${readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim()}` };
  const v1 = readdirSafe("/sys/fs/cgroup").filter((entry) => existsSync(`/sys/fs/cgroup/${entry}/tasks`));
  if (v1.length > 0) return { name, state: "good", found: `version 1: ${v1.join(" ")}` };
  return { name, state: "poor", found: "not mounted: containers without a VM have no limits (those in a VM have)", todo: "mount -t cgroup2 none /sys/fs/cgroup" };
};

const cache = (): Finding => {
  let folder = cacheFolder();
  while (!existsSync(folder)) folder = dirname(folder);
  const name = "cache";
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    return { name, state: "missing", found: `${folder} may not be written`, todo: "name another folder in KATA_CACHE" };
  }
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const found = `${cacheFolder()}, ${(free / 1e9).toFixed(1)} GB free`;
  return free < 4e9 ? { name, state: "poor", found, todo: `a compile of the kernel needs ${sizeText(4 * 1024 ** 3)}` } : { name, state: "good", found };
};

const user = (): Finding =>
  process.getuid?.() === 0 ? { name: "user", state: "good", found: "root" } : { name: "user", state: "poor", found: `uid ${process.getuid?.() ?? "?"}: VMs work, containers without a VM and \`make test\` need root` };

/** All findings, in the order in which they matter. */
export const examine = async (): Promise<Finding[]> => [
  qemu(), await kvm(), kernel(), built("agent", "kata-agent", "make agent"), built("initrd", "initrd.img", "make initrd"), vsock(), share(), groups(), cache(), user(),
];

const MARK: Readonly<Record<Finding["state"], string>> = { good: "ok", poor: "!", missing: "MISSING" };

/** Prints them; 1 when a VM cannot be run here. */
export const doctorCommand = async (options: { json?: boolean }): Promise<number> => {
  const all = await examine();
  if (options.json === true) process.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
  else for (const { name, state, found, todo } of all) process.stdout.write(`${MARK[state].padEnd(8)}${name.padEnd(16)}${found}\n${todo === undefined ? "" : `${" ".repeat(24)}-> ${todo}\n`}`);
  return all.some(({ state }) => state === "missing") ? 1 : 0;
};
