import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { generated } from "../../../protos/gen.js";
import { propertyName } from "../../../protos/names.js";

test.each(Object.entries(generated()))("%s is what the generator writes (else run: npx tsx protos/gen.ts)", (path, text) => {
  expect(readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8")).toBe(text);
});

test.each([
  ["OCI", "oci"], ["UID", "uid"], ["OOMScoreAdj", "oomScoreAdj"], ["UIDMappings", "uidMappings"], ["HostID", "hostID"],
  ["ContainerID", "containerID"], ["CPU", "cpu"], ["IntelRdt", "intelRdt"], ["BlockIO", "blockIO"], ["container_id", "containerId"],
  ["ThrottleReadIOPSDevice", "throttleReadIOPSDevice"], ["L3CacheSchema", "l3CacheSchema"], ["Sec", "sec"], ["is_ipv6", "isIpv6"],
  ["DisableOOMKiller", "disableOOMKiller"], ["KernelTCP", "kernelTCP"], ["ClassID", "classID"], ["PCIPath", "pciPath"],
  ["IPAddresses", "ipAddresses"], ["ARPNeighbors", "arpNeighbors"], ["toIPAddress", "toIPAddress"], ["memHotplugProbeAddr", "memHotplugProbeAddr"],
])("%s is called %s", (proto, ours) => {
  expect(propertyName("Any", proto)).toBe(ours);
});
