// What a storage is: the host's wish (Storage), where it is mounted for (StorageContext), and what a driver did about it
// (Done), which is plain data so that it can be undone later by somebody else.
import { foreign, type ForeignPath } from "../lib/foreign.js";

/** `groupChangePolicy` 0: always, 1: only when the root of the volume does not fit yet. */
export interface FsGroup { readonly groupId: number; readonly groupChangePolicy: number }

interface Fields {
  readonly driver: string;
  readonly driverOptions: readonly string[];
  readonly fstype: string;
  readonly options: readonly string[];
  readonly fsGroup?: FsGroup;
  readonly shared: boolean;
}
/** A storage as the API has it. */
export interface AskedStorage extends Fields { readonly source: string; readonly mountPoint: string }
/** The same, with its paths kept from the loop. */
export interface Storage extends Fields { readonly source: ForeignPath; readonly mountPoint: ForeignPath }

export const storageOf = (asked: AskedStorage): Storage => ({ ...asked, source: foreign(asked.source), mountPoint: foreign(asked.mountPoint) });

export interface StorageContext {
  /** Absent for the storages of the sandbox itself. */
  readonly containerId?: string;
  readonly table: StorageTable;
  /** The container's own folder, for what a driver has to keep; "" without a container. */
  readonly baseDir: string;
  readonly hotplugTimeoutMs: number;
}

/** What is there now because of a storage. */
export interface Done {
  /** The mount point is a mount that this storage made. */
  readonly mounted: boolean;
  /** What becomes of the mount point's folder in the end: left, removed if empty, or removed with everything in it. */
  readonly folder: "keep" | "empty" | "tree";
  /** Folders that a driver made beside it and that go with it. */
  readonly extra?: readonly string[];
  /** Huge pages that were set aside for it. */
  readonly pages?: { readonly file: string; readonly count: number };
}

/** Makes a storage be there. Whatever it leaves when it fails it must have undone itself. */
export type Driver = (storage: Storage, context: StorageContext) => Promise<Done>;

/** Who uses a mount point. */
export interface StorageEntry {
  count: number;
  /** Stays when nobody uses it any more, until the sandbox ends. */
  readonly shared: boolean;
  /** Belongs to the pod, not to the container that first asked: no container gives it back. */
  readonly lasting: boolean;
  /** Set when the driver is done. */
  done: Done | undefined;
  /** While the driver works: settles with it. Others that want the mount point wait for it. */
  pending: Promise<void> | undefined;
}

/** By mount point, in the order in which they were mounted. */
export type StorageTable = Map<string, StorageEntry>;
