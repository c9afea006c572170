// Block devices by whatever the host names them with: a node in /dev, a PCI path, a SCSI id and LUN. Each ends as the path
// of a node that is there and is a block device. See agent-api 13.10 and 14.4.
import { AppError } from "../lib/errors.js";
import { childTask } from "../lib/child-task.js";
import { decimal } from "../lib/text.js";
import { isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { writeText } from "../lib/fs.js";
import { parsePciPath, waitForPciDisk } from "./pci.js";
import { deviceAt, isBlock, namesIn, nodeIn } from "./sysfs.js";
import { waitForDevice } from "./uevent.js";

const SCAN_DEADLINE_MS = 10_000;

/** Waits for a node of /dev; AppError "Invalid device" for what is no block device. */
export function waitForNode(path: string, timeoutMs: number): Promise<string> {
  return waitForDevice(`block device ${path}`, timeoutMs, () => {
    const found = deviceAt(path);
    if (found === undefined) return undefined;
    if (!isBlock(found)) throw new AppError("internal", `Invalid device ${path}: not a block device`);
    return path;
  });
}

/** virtio-blk: a node of /dev, or else a PCI path. */
export function waitForDisk(source: string, timeoutMs: number): Promise<string> {
  return source.startsWith("/dev/") ? waitForNode(source, timeoutMs) : waitForPciDisk(parsePciPath(source), timeoutMs);
}

/** "<id>:<lun>" as numbers. Throws AppError. */
export function parseScsi(text: string): { id: number; lun: number } {
  const [id, lun, more] = text.split(":").map(decimal);
  if (id === undefined || lun === undefined || more !== undefined || text.split(":").length !== 2) throw new AppError("internal", `SCSI address "${text}" should have the format ID:LUN`);
  return { id, lun };
}

function findScsi(suffix: string): string | undefined {
  for (const name of namesIn("/sys/class/scsi_device")) {
    const node = name.endsWith(suffix) ? nodeIn(`/sys/class/scsi_device/${name}/device/block`) : undefined;
    if (node !== undefined) return node;
  }
  return undefined;
}

/** A scan asks the device and may take its time, so it happens in a child. */
function scan(id: number, lun: number): Promise<null> {
  return childTask(`scan SCSI hosts for ${id}:${lun}`, SCAN_DEADLINE_MS, () => {
    for (const host of namesIn("/sys/class/scsi_host")) {
      try {
        writeText(`/sys/class/scsi_host/${host}/scan`, `0 ${id} ${lun}`);
      } catch (error) {
        if (!isErrno(error, E.EINVAL, E.ENODEV)) throw error; // a host without such a target
      }
    }
    return null;
  });
}

/** A SCSI disk by "<id>:<lun>" on channel 0 of any host, which are told to look for it first. */
export async function waitForScsi(source: string, timeoutMs: number): Promise<string> {
  const { id, lun } = parseScsi(source);
  const suffix = `:0:${id}:${lun}`;
  const there = findScsi(suffix);
  if (there !== undefined) return there;
  await scan(id, lun);
  return waitForDevice(`SCSI disk ${source}`, timeoutMs, () => findScsi(suffix));
}
