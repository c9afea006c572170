// Which accelerator to use. /dev/kvm may open and still not run a guest (nested, emulated), so KVM is taken only after a real
// kernel ran in it up to its end. The result is remembered for this boot of the host and this kernel.
import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { qemuArgs, type Accel, type Machine } from "./machine.js";
import { cacheFolder } from "../../tools/places.js";

export interface AccelChoice {
  accel: Accel;
  /** Why, in words for the user. */
  why: string;
}

/** Milliseconds a kernel gets to boot and reach its panic; with working KVM it takes well under one second. */
const PROBE_MS = 6_000;

const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
};

const recall = (file: string, key: string): boolean | undefined => {
  try {
    const known = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    return known["key"] === key ? known["works"] === true : undefined;
  } catch {
    return undefined;
  }
};

const remember = (file: string, key: string, works: boolean): void => {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify({ key, works }));
  renameSync(temporary, file);
};

// A kernel without any root file system panics at its end, `panic=-1` makes it reboot and -no-reboot makes QEMU leave.
const runsGuest = (qemu: string, kernel: string): Promise<boolean> => {
  const machine: Machine = {
    type: "q35", accel: "kvm", memoryMiB: 128, cpus: 1, kernel, disks: [], wire: { kind: "serial", socket: "" },
    append: ["console=ttyS0", "panic=-1", "reboot=t"], extra: [],
  };
  const args = qemuArgs(machine);
  const cut = args.indexOf("-chardev", args.indexOf("-append"));
  return new Promise((resolve) => {
    const child = spawn(qemu, cut < 0 ? args : args.slice(0, cut), { stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    child.stdout.on("data", (piece: Buffer) => (said = (said + piece.toString("latin1")).slice(-65536)));
    const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_MS);
    child.once("error", () => resolve(false));
    child.once("exit", (code) => {
      clearTimeout(timer);
      resolve(code === 0 && /Linux version|Kernel panic|VFS:/.test(said));
    });
  });
};

/**
 * KVM when it runs a guest on this machine, else TCG. KATA_ACCEL=kvm or tcg decides without asking.
 * The first use on a boot of the host may take some seconds.
 */
export const chooseAccel = async (qemu: string, kernel: string): Promise<AccelChoice> => {
  const forced = process.env["KATA_ACCEL"];
  if (forced === "kvm" || forced === "tcg") return { accel: forced, why: "set by KATA_ACCEL" };
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return { accel: "tcg", why: missing ? "there is no /dev/kvm" : "/dev/kvm may not be opened" };
  }
  const stat = statSync(kernel);
  const key = [bootId(), qemu, kernel, stat.size, stat.mtimeMs].join(" ");
  const file = join(cacheFolder(), "kvm-probe.json");
  const known = recall(file, key);
  const works = known ?? (await runsGuest(qemu, kernel));
  if (known === undefined) remember(file, key, works);
  return works ? { accel: "kvm", why: "it ran a test guest" } : { accel: "tcg", why: "/dev/kvm is there but did not run a test guest" };
};
