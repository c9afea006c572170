// The pure parts of devices/: PCI paths, SCSI addresses, CPU lists, and the rewriting of a spec.
import "../../helpers/fake-epoll.js";
import { describe, expect, it } from "vitest";
import { parseScsi } from "../../../agent/devices/block.js";
import { countList } from "../../../agent/devices/hotplug.js";
import { formatPciPath, parsePciPath } from "../../../agent/devices/pci.js";
import { applyDevices, resolveDevices, type Found } from "../../../agent/devices/resolve.js";
import type { Spec } from "../../../agent/oci/spec.js";

describe("PCI paths", () => {
  it("name slots in hex, with a function or without", () => {
    expect(parsePciPath("02/1f.7")).toEqual({ root: "00", slots: [{ slot: 2, fn: 0 }, { slot: 0x1f, fn: 7 }] });
    expect(formatPciPath(parsePciPath("2/1F.7"))).toBe("02/1f.7");
  });

  it("begin with a root complex only if that cannot be a slot", () => {
    expect(parsePciPath("20/02/03")).toEqual({ root: "20", slots: [{ slot: 2, fn: 0 }, { slot: 3, fn: 0 }] });
    expect(parsePciPath("1f/02/03").root).toBe("00");
    expect(() => parsePciPath("20/02")).toThrow(/PCI slot\/function 20/);
    expect(formatPciPath(parsePciPath("20/02/03.1"))).toBe("20/02/03.1");
  });

  it.each(["", "/", "02/", "/02", "20", "02.8", "02.", ".1", "02.1.1", "0x2", "gg", "02//03", "-1", "02 "])("are refused when they are %j", (text) => {
    expect(() => parsePciPath(text)).toThrow(/should have the format SS\.F/);
  });
});

describe("SCSI addresses", () => {
  it("are two numbers", () => expect(parseScsi("3:11")).toEqual({ id: 3, lun: 11 }));
  it.each(["", "3", "3:", ":3", "1:2:3", "a:1", "1:-2"])("are refused when they are %j", (text) => expect(() => parseScsi(text)).toThrow(/ID:LUN/));
});

describe("CPU lists", () => {
  it.each([["0-3\n", 4], ["0", 1], ["0,2-4,7", 5], ["", 0], ["\n", 0]])("%j counts as %i", (text, n) => expect(countList(text)).toBe(n));
});

describe("devices in a spec", () => {
  const spec: Spec = {
    ociVersion: "1.0.0",
    linux: {
      devices: [{ path: "/dev/a", type: "b", major: 8, minor: 0 }, { path: "/dev/b", type: "b", major: 8, minor: 16 }],
      resources: { devices: [{ allow: false, access: "rwm" }, { allow: true, type: "b", major: 8, minor: 0, access: "r" }, { allow: true, type: "b", major: 8, minor: 16, access: "rw" }] },
    },
  };
  const found = (containerPath: string, major: number, minor: number): Found => ({ containerPath, type: "b", major, minor });

  it("get the guest's numbers, and so do their rules", () => {
    const result = applyDevices(spec, [found("/dev/a", 254, 0)]);
    expect(result.linux?.devices?.[0]).toMatchObject({ path: "/dev/a", major: 254, minor: 0 });
    expect(result.linux?.resources?.devices).toEqual([
      { allow: false, access: "rwm" }, { allow: true, type: "b", major: 254, minor: 0, access: "r" }, { allow: true, type: "b", major: 8, minor: 16, access: "rw" },
      { allow: true, type: "b", major: 254, minor: 0, access: "rwm" },
    ]);
    expect(spec.linux?.devices?.[0]?.major).toBe(8);
  });

  it("may swap numbers without one rule being rewritten twice", () => {
    const rules = applyDevices(spec, [found("/dev/a", 8, 16), found("/dev/b", 8, 0)]).linux?.resources?.devices;
    expect(rules?.slice(1, 3)).toEqual([{ allow: true, type: "b", major: 8, minor: 16, access: "r" }, { allow: true, type: "b", major: 8, minor: 0, access: "rw" }]);
  });

  it("are refused when the spec lacks them or has them twice", () => {
    expect(() => applyDevices(spec, [found("/dev/c", 1, 1)])).toThrow("Missing devices in OCI spec: /dev/c");
    expect(() => applyDevices(spec, [found("/dev/a", 1, 1), found("/dev/a", 2, 2)])).toThrow("Conflicting device updates for /dev/a");
  });

  const device = { id: "02", type: "blk", vmPath: "", containerPath: "/dev/a", options: [] };
  it.each([
    [{ type: "" }, /invalid type for device/],
    [{ id: "" }, /invalid ID and VM path/],
    [{ containerPath: "" }, /invalid container path/],
    [{ type: "floppy" }, /Failed to find the device handler floppy/],
    [{ type: "toString" }, /Failed to find the device handler toString/],
    [{ type: "vfio-ap" }, /only supported on s390x/],
    [{ type: "mmioblk" }, /Invalid path for virtio mmio blk device/],
  ])("are refused when they have %j", async (fields, text) => {
    await expect(resolveDevices([{ ...device, ...fields }], spec, { hotplugTimeoutMs: 1 })).rejects.toThrow(text);
  });
});
