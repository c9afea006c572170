import { describe, expect, it } from "vitest";
import { checkNetDevices } from "../../../agent/oci/net-devices.js";

describe("netDevices", () => {
  it("have names as the kernel takes them", () => {
    for (const good of [{ eth0: {} }, { "eth0.1": { name: "a-b_c" }, eth1: { name: "net%d" }, eth2: { name: "net%d" } }, { x: { name: "123456789012345" } }, { "we%ird": { name: "a" } }]) {
      expect(() => checkNetDevices(good, true)).not.toThrow();
    }
  });
  it.each(["", ".", "..", "a/b", "a:b", "a b", "a\nb", "1234567890123456", "ä"])("%j is no name", (name) => {
    expect(() => checkNetDevices({ [name]: { name: "ok" } }, true)).toThrow(`linux.netDevices[${JSON.stringify(name)}]: is not the name`);
    if (name !== "") expect(() => checkNetDevices({ eth0: { name } }, true)).toThrow('linux.netDevices["eth0"].name');
  });
  it.each(["a%s", "%d%d", "a%", "%"])("%j is no template", (name) => {
    expect(() => checkNetDevices({ eth0: { name } }, true)).toThrow('linux.netDevices["eth0"].name');
  });
  it("need a network apart from the machine's, and names of their own there", () => {
    expect(() => checkNetDevices({ eth0: {} }, false)).toThrow('linux.netDevices["eth0"]: unable to move network devices without a NET namespace');
    expect(() => checkNetDevices({ eth0: { name: "a" }, eth1: { name: "a" } }, true)).toThrow('linux.netDevices["eth1"].name: "a" is given twice');
    expect(() => checkNetDevices({ eth0: { name: "eth1" }, eth1: {} }, true)).toThrow("given twice");
  });
});
