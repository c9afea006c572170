// Swap space on a disk that the host has prepared (mkswap is its work); agent-api 10.16.
import { must } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { AppError } from "../lib/errors.js";
import { aside, foreign, type ForeignPath, named, reach } from "../lib/foreign.js";
import { waitForPciDisk } from "./pci.js";

const DEADLINE_MS = 30_000;

/** swapon(2) on a path of the guest. */
export async function addSwapPath(path: ForeignPath): Promise<void> {
  await aside(`swap on ${named(path)}`, DEADLINE_MS, (off) => must("swapon", NR.swapon, reach(path, off), 0));
}

/** Swap on the virtio disk whose PCI path has these slots. */
export async function addSwap(slots: readonly number[], hotplugTimeoutMs: number): Promise<void> {
  if (slots.length === 0) throw new AppError("internal", "PCI path must have at least one element");
  const bad = slots.find((s) => s > 31);
  if (bad !== undefined) throw new AppError("internal", `PCI slot ${bad} is larger than 31`);
  await addSwapPath(foreign(await waitForPciDisk({ root: "00", slots: slots.map((slot) => ({ slot, fn: 0 })) }, hotplugTimeoutMs)));
}
