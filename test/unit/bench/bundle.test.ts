// One config, three forms: what the agent is asked, what the peers are given and what the floor does must say the same.
import { describe, expect, it } from "vitest";
import { createMessage, floorSteps, ociConfig, PLACE, requestData } from "../../../bench/bundle.js";
import { RequestEnvelope, schema } from "../../../ctl/client/schema.js";

const decoded = (): Record<string, ReturnType<typeof JSON.parse>> => {
  const data = requestData("CreateContainer", createMessage(ociConfig("/r", "/true", PLACE), PLACE));
  const envelope = RequestEnvelope.decode(data) as unknown as { service: string; method: string; payload: Uint8Array };
  expect([envelope.service, envelope.method]).toEqual(["grpc.AgentService", "CreateContainer"]);
  const type = schema().root.lookupType("grpc.CreateContainerRequest");
  return type.toObject(type.decode(envelope.payload), { longs: Number });
};

describe("the request", () => {
  it("carries the whole config", () => {
    const { containerId, oci } = decoded();
    const config = ociConfig("/r", "/true", PLACE);
    expect(containerId).toBe(PLACE);
    expect(oci.root).toEqual({ path: "/r", readonly: true });
    expect(oci.process).toMatchObject({ args: ["/true"], cwd: "/", noNewPrivileges: true, rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }] });
    expect(oci.process.capabilities.bounding).toEqual(config.process.capabilities.bounding);
    expect(oci.mounts.map((m: { destination: string }) => m.destination)).toEqual(config.mounts.map((m) => m.destination));
    expect(oci.linux.maskedPaths).toEqual(config.linux.maskedPaths);
    expect(oci.linux.cgroupsPath).toContain(PLACE);
  });

  it("leaves the pid namespace to the agent and names all others", () => {
    expect(decoded()["oci"].linux.namespaces.map((n: { type: string }) => n.type)).toEqual(["network", "ipc", "uts", "mount", "cgroup"]);
  });
});

describe("the floor's steps", () => {
  const lines = floorSteps(ociConfig("/r", "/true", "x")).trimEnd().split("\n").map((line) => line.split("\t"));

  it("mount what the config mounts, in its order", () => {
    expect(lines.filter((l) => l[0] === "m").map((l) => l[1])).toEqual(ociConfig("/r", "/true", "x").mounts.map((m) => `.${m.destination}`));
  });

  it("split options into flags and data", () => {
    expect(lines.find((l) => l[1] === "./dev/shm")).toEqual(["m", "./dev/shm", "shm", "tmpfs", "mode=1777,size=65536k", "14", "0", "0"]);
  });

  it("mask and protect every path of the config", () => {
    const { maskedPaths, readonlyPaths } = ociConfig("/r", "/true", "x").linux;
    expect(lines.filter((l) => l[0] === "x")).toHaveLength(maskedPaths.length);
    expect(lines.filter((l) => l[0] === "r")).toHaveLength(readonlyPaths.length);
  });

  it("have eight words each, as the C program reads them", () => {
    expect(lines.every((l) => l.length === 8)).toBe(true);
  });
});
