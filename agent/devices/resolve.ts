// From the host's list of devices to a spec that is true in the guest: each device is waited for, and the host's major and
// minor numbers in linux.devices and linux.resources.devices become the guest's (agent-api 14.1 and 14.2).
import { S } from "../abi/flags.js";
import { AppError } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import type { Device as SpecDevice, DeviceRule, Spec } from "../oci/spec.js";
import { waitForDisk, waitForNode, waitForScsi } from "./block.js";
import { deviceAt } from "./sysfs.js";

const vfio = lazy<typeof import("./vfio.js")>("devices/vfio.js");

/** A device as the API has it. */
export interface Device {
  readonly id: string;
  readonly type: string;
  readonly vmPath: string;
  readonly containerPath: string;
  readonly options: readonly string[];
}

export interface DeviceContext { readonly hotplugTimeoutMs: number }

/** Where a device is in the guest; `path` is a new place for it in the container, where it gets one. */
export interface Found { readonly containerPath: string; readonly type: "b" | "c"; readonly major: number; readonly minor: number; readonly path?: string }

type Finder = (device: Device, timeoutMs: number) => Promise<string | undefined>;

/** The node in the guest for each type of device; undefined: found, but it has no node. */
const FINDERS: Readonly<Record<string, Finder>> = {
  blk: (d, ms) => waitForDisk(d.id, ms),
  mmioblk: (d, ms) => {
    if (d.vmPath === "") throw new AppError("internal", "Invalid path for virtio mmio blk device");
    return waitForNode(d.vmPath, ms);
  },
  nvdimm: (d, ms) => waitForNode(d.vmPath, ms),
  scsi: (d, ms) => waitForScsi(d.id, ms),
  "vfio-pci": async (d, ms) => (await vfio().waitForVfio(d.options, true, ms)).node,
  "vfio-pci-gk": async (d, ms) => (await vfio().waitForVfio(d.options, false, ms)).node,
};

function check(device: Device): Finder {
  const { id, type, vmPath, containerPath } = device;
  if (type === "") throw new AppError("internal", "invalid type for device");
  if (id === "" && vmPath === "") throw new AppError("internal", `invalid ID and VM path for device ${containerPath}`);
  if (containerPath === "") throw new AppError("internal", `invalid container path for device ${id || vmPath}`);
  if (type === "vfio-ap" || type === "vfio-ap-cold") throw new AppError("internal", "VFIO-AP is only supported on s390x");
  const finder = Object.hasOwn(FINDERS, type) ? FINDERS[type] : undefined;
  if (finder === undefined) throw new AppError("internal", `Failed to find the device handler ${type}`);
  return finder;
}

function describe(node: string, containerPath: string, moved: boolean): Found {
  const there = deviceAt(node);
  if (there === undefined) throw new AppError("internal", `look at device ${node}: it is gone`);
  const { mode, rdevMajor, rdevMinor } = there;
  const kind = mode & S.IFMT;
  if (kind !== S.IFBLK && kind !== S.IFCHR) throw new AppError("internal", `${node} is not a device`);
  return { containerPath, type: kind === S.IFBLK ? "b" : "c", major: rdevMajor, minor: rdevMinor, ...(moved ? { path: node } : {}) };
}

/** Rewrites a spec for devices that were found. Pure. Throws AppError for a device that the spec does not have, or has twice. */
export function applyDevices(spec: Spec, found: readonly Found[]): Spec {
  if (found.length === 0) return spec;
  const devices: SpecDevice[] = [...(spec.linux?.devices ?? [])];
  const rules: DeviceRule[] = [...(spec.linux?.resources?.devices ?? [])];
  // by what the host has written only: a number that has been rewritten is not rewritten again
  const places = new Map<string, number>();
  devices.forEach(({ path }, i) => places.has(path) || places.set(path, i));
  const ruled = new Map<string, number[]>();
  rules.forEach((rule, i) => {
    const same = ruled.get(numbersOf(rule));
    if (same === undefined) ruled.set(numbersOf(rule), [i]);
    else same.push(i);
  });
  const seen = new Set<string>();
  for (const { containerPath, type, major, minor, path } of found) {
    if (seen.has(containerPath)) throw new AppError("internal", `Conflicting device updates for ${containerPath}`);
    seen.add(containerPath);
    const at = places.get(containerPath) ?? -1;
    const old = devices[at];
    if (old === undefined) throw new AppError("internal", `Missing devices in OCI spec: ${containerPath}`);
    devices[at] = { ...old, path: path ?? old.path, major, minor };
    for (const i of ruled.get(numbersOf(old)) ?? []) rules[i] = { ...(rules[i] as DeviceRule), major, minor };
    rules.push({ allow: true, type, major, minor, access: "rwm" });
  }
  return { ...spec, linux: { ...spec.linux, devices, resources: { ...spec.linux?.resources, devices: rules } } };
}

const numbersOf = ({ type, major, minor }: { readonly type?: string; readonly major?: number; readonly minor?: number }): string => `${type} ${major}:${minor}`;

/** Waits for every device and gives the spec with the guest's numbers. */
export async function resolveDevices(devices: readonly Device[], spec: Spec, context: DeviceContext): Promise<Spec> {
  const finders = devices.map(check);
  const found: Found[] = [];
  for (const [i, device] of devices.entries()) {
    const node = await (finders[i] as Finder)(device, context.hotplugTimeoutMs);
    if (node !== undefined) found.push(describe(node, device.containerPath, device.type === "vfio-pci"));
  }
  return applyDevices(spec, found);
}
