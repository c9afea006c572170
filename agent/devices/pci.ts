// PCI paths: "02/03.1" names the slots from the root bus down, through bridges, in hex (agent-api 14.3). Bus numbers are
// the guest's own business, so the path is followed in sysfs, where each bridge shows the bus behind it.
import { exists } from "../sys/file.js";
import { parseBase } from "../lib/text.js";
import { AppError } from "../lib/errors.js";
import { namesIn, nodeIn } from "./sysfs.js";
import { waitForDevice } from "./uevent.js";

export interface Slot { readonly slot: number; readonly fn: number }
/** `root` is the number of the root complex as sysfs has it, "00" for nearly all. */
export interface PciPath { readonly root: string; readonly slots: readonly Slot[] }

const hex2 = (n: number): string => n.toString(16).padStart(2, "0");

function parseSlot(text: string): Slot {
  const [slotText, fnText, more] = text.split(".");
  const slot = parseBase(slotText ?? "", 16);
  const fn = fnText === undefined ? 0 : parseBase(fnText, 16);
  if (slot === undefined || fn === undefined || more !== undefined || slot > 0x1f || fn > 7) throw new AppError("internal", `PCI slot/function ${text} should have the format SS.F`);
  return { slot, fn };
}

/** Parses a PCI path; with three or more elements a first one of 0x20 or above names the root complex. Throws AppError. */
export function parsePciPath(text: string): PciPath {
  const parts = text.split("/");
  const first = parseBase(parts[0] ?? "", 16);
  const named = parts.length >= 3 && first !== undefined && first >= 0x20 && first <= 0xff;
  return { root: named ? hex2(first) : "00", slots: (named ? parts.slice(1) : parts).map(parseSlot) };
}

/** The path as text again. */
export function formatPciPath(path: PciPath): string {
  const slots = path.slots.map((s) => (s.fn === 0 ? hex2(s.slot) : `${hex2(s.slot)}.${s.fn}`));
  return (path.root === "00" ? slots : [path.root, ...slots]).join("/");
}

/** /sys/devices/... of a root complex; on arm64 it may stand below a platform device. */
function rootBus(root: string): string | undefined {
  const name = `pci0000:${root}`;
  const plain = `/sys/devices/${name}`;
  if (exists(plain)) return plain;
  const platform = namesIn("/sys/devices/platform").find((d) => d.endsWith(".pcie") && exists(`/sys/devices/platform/${d}/${name}`));
  return platform === undefined ? undefined : `/sys/devices/platform/${platform}/${name}`;
}

/** The one bus behind a bridge, as "0000:01"; undefined while there is none. */
function secondaryBus(bridge: string): string | undefined {
  const buses = namesIn(`${bridge}/pci_bus`);
  if (buses.length > 1) throw new AppError("internal", `${bridge} has more than one secondary bus: ${buses.join(", ")}`);
  return buses[0];
}

/** A function's folder in sysfs and its address (DDDD:BB:SS.F); undefined while it is not there. */
export function findPci(path: PciPath): { readonly dir: string; readonly address: string } | undefined {
  let dir = rootBus(path.root);
  let bus: string | undefined = `0000:${path.root}`;
  let address = "";
  for (const [i, { slot, fn }] of path.slots.entries()) {
    if (i > 0) bus = secondaryBus(dir as string);
    if (dir === undefined || bus === undefined) return undefined;
    address = `${bus}:${hex2(slot)}.${fn}`;
    dir = `${dir}/${address}`;
    if (!exists(dir)) return undefined;
  }
  return dir === undefined ? undefined : { dir, address };
}

/** Waits for a function; its folder in sysfs and its address. */
export function waitForPci(path: PciPath, timeoutMs: number): Promise<{ readonly dir: string; readonly address: string }> {
  return waitForDevice(`PCI device ${formatPciPath(path)}`, timeoutMs, () => findPci(path));
}

/** Folders of the virtio devices of a function, e.g. ".../virtio3". */
function virtioOf(path: PciPath): string[] {
  const found = findPci(path);
  return found === undefined ? [] : namesIn(found.dir).filter((n) => n.startsWith("virtio")).map((n) => `${found.dir}/${n}`);
}

/** Waits for the virtio-blk disk at a PCI path; its node in /dev. */
export function waitForPciDisk(path: PciPath, timeoutMs: number): Promise<string> {
  return waitForDevice(`block device at PCI path ${formatPciPath(path)}`, timeoutMs, () => virtioOf(path).map((v) => nodeIn(`${v}/block`)).find((n) => n !== undefined));
}

/** Waits for the network device at a PCI path; its present name. */
export function waitForPciNet(path: PciPath, timeoutMs: number): Promise<string> {
  return waitForDevice(`network device at PCI path ${formatPciPath(path)}`, timeoutMs, () => {
    const found = findPci(path);
    return found === undefined ? undefined : [found.dir, ...virtioOf(path)].map((d) => namesIn(`${d}/net`)[0]).find((n) => n !== undefined);
  });
}
