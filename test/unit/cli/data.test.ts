// What spec and features print: what one writes the engine takes, and what the other promises is what its checks let through.
import "../../helpers/fake-native.js";
import { describe, expect, it, vi } from "vitest";
import { features } from "../../../agent/cli/features.js";
import { defaultSpec } from "../../../agent/cli/spec.js";
import { checkSpec } from "../../../agent/oci/check.js";
import { mountPlan } from "../../../agent/oci/mounts.js";
import { parseSpec } from "../../../agent/oci/parse.js";
import { filterPlan, seccompFlags } from "../../../agent/oci/seccomp.js";

vi.mock("../../../agent/lib/loop.js", () => ({ after: () => ({ cancel: () => undefined }), watch: () => undefined }));

const found = features() as any;
const config = (linux: object): any => parseSpec(JSON.stringify({ ...defaultSpec(false, true), root: { path: "/rootfs" }, hostname: "", linux }));

describe("features", () => {
  it("promises only mount options that are taken, none of them as data for the file system", () => {
    expect(found.mountOptions.length).toBeGreaterThan(60);
    for (const option of found.mountOptions) expect(mountPlan({ destination: "/a", type: "tmpfs", options: [option] }).data, option).toBe("");
    for (const option of ["rro", "rbind", "idmap", "ridmap", "tmpcopyup", "nosymfollow", "defaults", "runbindable"]) expect(found.mountOptions).toContain(option);
  });

  it("promises only what the checks let through", () => {
    for (const type of found.linux.namespaces) checkSpec(config({ namespaces: [{ type, path: "/proc/1/ns/x" }] }));
    for (const name of found.linux.capabilities) expect(name).toMatch(/^CAP_[A-Z_]+$/);
    expect(found.linux.capabilities).toHaveLength(41);
    const { actions, operators, archs, knownFlags } = found.linux.seccomp;
    for (const defaultAction of actions) if (defaultAction !== "SCMP_ACT_NOTIFY") filterPlan({ defaultAction });
    for (const op of operators) filterPlan({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], action: "SCMP_ACT_LOG", args: [{ index: 0, value: 0, op }] }] });
    filterPlan({ defaultAction: "SCMP_ACT_ALLOW", architectures: archs });
    seccompFlags({ defaultAction: "SCMP_ACT_ALLOW", flags: knownFlags });
    for (const mode of found.linux.memoryPolicy.modes) checkSpec(config({ memoryPolicy: { mode, ...(/DEFAULT|LOCAL/.test(mode) ? {} : { nodes: "0" }) } }));
    expect(() => checkSpec(config({ memoryPolicy: { mode: "MPOL_NEW" } }))).toThrow("linux.memoryPolicy.mode");
  });

  it("names versions that configurations may have", () => {
    for (const ociVersion of [found.ociVersionMin, found.ociVersionMax]) expect(parseSpec(JSON.stringify({ ...defaultSpec(false, false), ociVersion })).ociVersion).toBe(ociVersion);
  });

  it("has no list with a name twice", () => {
    for (const list of [found.mountOptions, found.hooks, found.linux.namespaces, found.linux.seccomp.archs]) expect(new Set(list).size).toBe(list.length);
  });
});

describe.each([[false, false], [false, true], [true, false], [true, true]])("spec (rootless %s, version 2 %s)", (rootless, v2) => {
  const written = defaultSpec(rootless, v2, 1000, 1001);
  it("is a configuration that passes the checks", () => {
    const read = parseSpec(JSON.stringify({ ...written, root: { ...written.root, path: "/rootfs" } }));
    expect(() => checkSpec(read)).not.toThrow();
    expect(read.process?.args).toEqual(["sh"]);
  });
  it("has the namespaces of its kind", () => {
    const types = written.linux?.namespaces?.map((n) => n.type) ?? [];
    expect(types.includes("user")).toBe(rootless);
    expect(types.includes("network")).toBe(!rootless);
    expect(types.includes("cgroup")).toBe(v2);
    expect(written.linux?.uidMappings).toEqual(rootless ? [{ containerID: 0, hostID: 1000, size: 1 }] : undefined);
    expect(written.linux?.gidMappings).toEqual(rootless ? [{ containerID: 0, hostID: 1001, size: 1 }] : undefined);
  });
});
