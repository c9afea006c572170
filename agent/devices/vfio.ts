// Passed-through PCI functions (vfio-pci, vfio-pci-gk): each option is "<host address>=<guest PCI path>" (agent-api 14.6).
// vfio-pci hands the function to the guest's vfio driver, for a container that drives it itself. Rare, so loaded lazily.
import { AT } from "../abi/flags.js";
import { readlinkat, exists } from "../sys/file.js";
import { AppError } from "../lib/errors.js";
import { childTask } from "../lib/child-task.js";
import { writeText } from "../lib/fs.js";
import { keyValue } from "../lib/text.js";
import { parsePciPath, waitForPci } from "./pci.js";
import { deviceAt } from "./sysfs.js";
import { waitForDevice } from "./uevent.js";

const BIND_DEADLINE_MS = 10_000;
const lastPart = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

function bindToVfio(dir: string, address: string): void {
  writeText(`${dir}/driver_override`, "vfio-pci");
  const driver = exists(`${dir}/driver`) ? lastPart(readlinkat(AT.FDCWD, `${dir}/driver`)) : undefined;
  if (driver === "vfio-pci") return;
  if (driver !== undefined) writeText(`${dir}/driver/unbind`, address);
  writeText("/sys/bus/pci/drivers_probe", address);
}

/** The functions' guest addresses; for vfio-pci also the node of their IOMMU group. */
export async function waitForVfio(options: readonly string[], bind: boolean, timeoutMs: number): Promise<{ node: string | undefined }> {
  let group: string | undefined;
  for (const option of options) {
    const [, guest] = keyValue(option);
    if (guest === undefined || guest.includes("=")) throw new AppError("internal", `Malformed VFIO PCI option ${option}`);
    if (guest === "") continue;
    const { dir, address } = await waitForPci(parsePciPath(guest), timeoutMs);
    if (!bind) continue;
    await childTask(`bind ${address} to vfio-pci`, BIND_DEADLINE_MS, () => (bindToVfio(dir, address), null));
    if (!exists(`${dir}/iommu_group`)) throw new AppError("internal", `${address} has no IOMMU group`);
    const own = lastPart(readlinkat(AT.FDCWD, `${dir}/iommu_group`));
    if (group !== undefined && own !== group) throw new AppError("internal", `${address} is in IOMMU group ${own}, others of the device are in ${group}`);
    group = own;
  }
  if (group === undefined) return { node: undefined };
  const node = `/dev/vfio/${group}`;
  return { node: await waitForDevice(node, timeoutMs, () => (deviceAt(node) === undefined ? undefined : node)) };
}
