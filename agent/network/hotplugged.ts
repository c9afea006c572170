// An interface that the host has named by its PCI path may not be there yet: wait for it, then set it up (agent-api 10.1).
import { parsePciPath, waitForPciNet } from "../devices/pci.js";
import { because } from "../lib/errors.js";
import { type Interface, tryHardware, updateInterface } from "./links.js";

/** Waits for the device, gives it the hardware address that the host wants, and sets it up. */
export async function updateHotplugged(wanted: Interface, hotplugTimeoutMs: number): Promise<void> {
  const name = await waitForPciNet(pathOf(wanted.devicePath), hotplugTimeoutMs).catch((error: unknown) => {
    throw because("interface not available", error);
  });
  if (wanted.hwAddr !== "") tryHardware(name, wanted.hwAddr);
  updateInterface(wanted);
}

function pathOf(text: string): ReturnType<typeof parsePciPath> {
  try {
    return parsePciPath(text);
  } catch (error) {
    throw because("Invalid PCI path for network interface", error);
  }
}
