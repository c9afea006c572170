import { describe, expect, it } from "vitest";
import "../../helpers/fake-native.js";
import { EXTRA, isBind, mountPlan } from "../../../agent/oci/mounts.js";

const plan = (...options: string[]): ReturnType<typeof mountPlan> => mountPlan({ destination: "/x", type: "tmpfs", source: "tmpfs", options });

describe("mount options", () => {
  it.each([
    ["ro", 1], ["nosuid", 2], ["nodev", 4], ["noexec", 8], ["sync", 0x10], ["dirsync", 0x80], ["nosymfollow", 0x100], ["noatime", 0x400],
    ["nodiratime", 0x800], ["bind", 0x1000], ["rbind", 0x5000], ["relatime", 0x200000], ["strictatime", 0x1000000], ["lazytime", 0x2000000],
  ])("%s sets its flag", (option, flag) => {
    expect(plan(option)).toMatchObject({ flags: flag, cleared: 0, data: "" });
  });
  it.each([["rw", 1], ["suid", 2], ["dev", 4], ["exec", 8], ["atime", 0x400], ["symfollow", 0x100]])("%s clears, and says so", (option, flag) => {
    expect(plan(option)).toMatchObject({ flags: 0, cleared: flag, data: "" });
  });
  const OTHERS = 1 | 2 | 4 | 8 | 0x100;
  it.each([
    [[], 0], [["rbind", "rprivate", "rro", "idmap"], 0], [["defaults"], 0], [["remount"], OTHERS], [["rw"], OTHERS & ~1], [["ro", "nodev"], OTHERS & ~5], [["noatime"], OTHERS], [["atime"], OTHERS], [["sync"], OTHERS],
  ])("a bind with %j drops of its source's flags %d when it is to be exact", (options, dropped) => {
    const of = (type: string, exact: boolean): ReturnType<typeof mountPlan> => mountPlan({ destination: "/x", type, source: "/s", options }, "", exact);
    expect(of("bind", true)).toMatchObject({ dropped });
    expect(of("bind", false)).toMatchObject({ dropped: 0 });
    if (!(options as string[]).includes("rbind")) expect(of("tmpfs", true)).toMatchObject({ dropped: 0 });
  });
  it("takes the last word", () => {
    expect(plan("ro", "rw")).toMatchObject({ flags: 0, cleared: 1 });
    expect(plan("rw", "ro")).toMatchObject({ flags: 1, cleared: 0 });
  });
  it("keeps propagation apart, in order", () => {
    expect(plan("rslave", "shared").propagation).toEqual([0x84000, 0x100000]);
  });
  it("clears the access-time choice as a whole", () => {
    expect(plan("rnoatime", "rro")).toMatchObject({ setRecursive: 0x11, clearRecursive: 0x70 });
    expect(plan("rro", "rrw")).toMatchObject({ setRecursive: 0, clearRecursive: 1 });
  });
  it("hands the rest to the file system, also names of an object's own", () => {
    expect(plan("size=5k", "nosuid", "mode=755", "constructor", "__proto__").data).toBe("size=5k,mode=755,constructor,__proto__");
  });
  it.each([["tmpcopyup", EXTRA.COPY_UP], ["idmap", EXTRA.IDMAP], ["ridmap", EXTRA.IDMAP | EXTRA.RIDMAP], ["copy-symlink", EXTRA.COPY_LINK], ["src-nofollow", EXTRA.SOURCE_LINK], ["dest-nofollow", EXTRA.DESTINATION_LINK]])("%s is about the mount itself", (option, extra) => {
    expect(plan(option)).toMatchObject({ flags: 0, data: "", extra });
  });
  it("maps ids when it has mappings, asked for or not", () => {
    const maps = [{ containerID: 0, hostID: 5, size: 1 }];
    expect(mountPlan({ destination: "/x", type: "bind", source: "/s", uidMappings: maps, gidMappings: maps })).toMatchObject({ extra: EXTRA.IDMAP, maps: { uids: maps, gids: maps } });
  });
  it("finds a relative source of a bind in the bundle", () => {
    expect(mountPlan({ destination: "/x", source: "a/b", options: ["rbind"] }, "/bundle").source).toBe("/bundle/a/b");
    expect(mountPlan({ destination: "/x", type: "tmpfs", source: "tmpfs" }, "/bundle").source).toBe("tmpfs");
  });
  it("binds by type as well as by option, and reads a relative destination from the root", () => {
    const m = mountPlan({ destination: "data", type: "bind", source: "/s" });
    expect(isBind(m)).toBe(true);
    expect(m.at).toBe("/data");
    expect(isBind(plan("nosuid"))).toBe(false);
  });
});
