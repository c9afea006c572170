// Storages on a disk: blk, mmioblk, scsi, nvdimm. Find the node, make a file system if the host asks for one, mount.
// See agent-api 13.10 and 13.11.
import { AppError, because } from "../lib/errors.js";
import { command } from "../lib/command.js";
import { foreign, named } from "../lib/foreign.js";
import { exists } from "../sys/file.js";
import { waitForDisk, waitForNode, waitForScsi } from "../devices/block.js";
import { mountGeneric } from "./mount.js";
import type { Driver, Done, Storage, StorageContext } from "./types.js";

const MKFS_TIMEOUT_MS = 120_000;
const MKFS_OPTIONS = ["-F", "-O", "^has_journal", "-m", "0", "-i", "163840", "-I", "128"];

async function makeFileSystem({ fstype }: Storage, node: string): Promise<void> {
  if (fstype !== "ext4") throw new AppError("internal", `creating filesystem ${fstype} for block storage is unsupported`);
  const mkfs = ["/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4", "/bin/mkfs.ext4", "/usr/bin/mkfs.ext4"].find(exists);
  if (mkfs === undefined) throw new AppError("internal", "mkfs.ext4 is not in the guest's image");
  const { status, stderr } = await command([mkfs, ...MKFS_OPTIONS, node], { timeoutMs: MKFS_TIMEOUT_MS });
  if (status !== 0) throw new AppError("internal", `mkfs.ext4 ${node} failed with status ${status}: ${stderr.trim()}`);
}

async function mountDisk(storage: Storage, node: string): Promise<Done> {
  const { driverOptions, fstype, mountPoint, options } = storage;
  // without the confidential data hub there is nothing that could encrypt: never mount in the clear what was to be encrypted
  if (driverOptions.includes("encryption_key=ephemeral")) throw new AppError("internal", `${named(mountPoint)}: encrypted storage is not supported by this guest`);
  if (driverOptions.includes("create_filesystem")) await makeFileSystem(storage, node);
  return mountGeneric({ source: foreign(node), target: mountPoint, fstype, options });
}

function onDisk(find: (storage: Storage, context: StorageContext) => Promise<string>): Driver {
  return async (storage, context) => {
    let node: string;
    try {
      node = await find(storage, context);
    } catch (error) {
      throw because(`storage ${named(storage.source)} for ${named(storage.mountPoint)}`, error);
    }
    return mountDisk(storage, node);
  };
}

function inDev(storage: Storage): string {
  const source = named(storage.source);
  if (!source.startsWith("/dev/")) throw new AppError("internal", `Storage source '${source}' must start with /dev/`);
  return source;
}

/** virtio-blk on PCI: source is a PCI path or a node. */
export const blk = onDisk((storage, context) => waitForDisk(named(storage.source), context.hotplugTimeoutMs));
/** virtio-blk on MMIO, and persistent memory: source is a node. */
export const node = onDisk(async (storage, context) => waitForNode(inDev(storage), context.hotplugTimeoutMs));
/** SCSI: source is "<id>:<lun>". */
export const scsi = onDisk((storage, context) => waitForScsi(named(storage.source), context.hotplugTimeoutMs));
