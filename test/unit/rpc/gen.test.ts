import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { expect, test } from "vitest";
import { TABLE } from "../../../agent/rpc/gen/table.js";
import { generated } from "../../../protos/gen.js";
import { loadNamed, loadProtos } from "../../../protos/load.js";
import { propertyName } from "../../../protos/names.js";

test.each(Object.entries(generated()))("%s is what the generator writes (else run: make gen)", (path, text) => {
  expect(readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8")).toBe(text);
});

test("both sides call every field the same, which the agent's table says for one and protobufjs for the other", () => {
  const named = loadNamed(fileURLToPath(new URL("../../../protos", import.meta.url)));
  const written = loadProtos(fileURLToPath(new URL("../../../protos", import.meta.url)));
  const rows = new Map(TABLE.trim().split("\n").map((row) => [row.split(" ")[0] as string, row]));
  for (const space of ["grpc", "types", "ttrpc"]) {
    for (const type of (named.lookup(space) as protobuf.Namespace).nestedArray.filter((one) => one instanceof protobuf.Type)) {
      const names = type.fieldsArray.map((field) => field.name);
      const tokens = (rows.get(type.name) ?? "").trim().split(" ").slice(1).filter((token) => token !== "");
      expect(tokens.map((token) => /^[%*?]?[a-z](\w+)/.exec(token)?.[1])).toEqual(names);
      expect(type.fieldsArray.map((field) => field.id)).toEqual((written.lookupType(`${space}.${type.name}`)).fieldsArray.map((field) => field.id));
    }
  }
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
