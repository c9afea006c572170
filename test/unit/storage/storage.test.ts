// The pure parts of storage/: options, reference counts, the mount table, group bits, roots of watched folders.
import "../../helpers/fake-epoll.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { driverNamed, driverNames } from "../../../agent/storage/drivers.js";
import { groupBits, rootFits } from "../../../agent/storage/fs-group.js";
import { optionValue, splitOptions, splitWords } from "../../../agent/storage/options.js";
import { drop, dropAll, register, use } from "../../../agent/storage/refs.js";
import type { StorageTable } from "../../../agent/storage/types.js";
import { watchableRoot } from "../../../agent/storage/watchable.js";

const MS = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8, REMOUNT: 32, NOATIME: 1024, BIND: 4096, REC: 16384, PRIVATE: 1 << 18, SLAVE: 1 << 19 };

describe("mount options", () => {
  it("are sorted into flags, propagation and the file system's own", () => {
    expect(splitOptions(["ro", "nosuid,nodev", "size=64m", "rslave", "mode=1777", "defaults"])).toEqual({ flags: MS.RDONLY | MS.NOSUID | MS.NODEV, propagation: MS.SLAVE | MS.REC, data: ["size=64m", "mode=1777"] });
    expect(splitOptions(["rbind", "remount", "private"])).toEqual({ flags: MS.BIND | MS.REC | MS.REMOUNT, propagation: MS.PRIVATE, data: [] });
  });
  it("may take back what an earlier one set", () => expect(splitOptions(["ro", "noexec", "rw", "exec", "noatime"]).flags).toBe(MS.NOATIME));
  it("that are the agent's own do not reach the kernel", () => {
    expect(splitOptions(["io.katacontainers.fs-opt.overlay-rw", "X-kata.overlay-upper", "fsgid=5", "lowerdir=/a:/b"]).data).toEqual(["lowerdir=/a:/b"]);
  });
  it("with names of Object's own members are only data", () => expect(splitOptions(["constructor", "__proto__"]).data).toEqual(["constructor", "__proto__"]));
  it("refuse a loop mount", () => expect(() => splitOptions(["loop"])).toThrow(/loop is not supported/));
  it("split at commas, not at escaped ones, and lose nothing", () => {
    expect(splitWords(["a,b", "lowerdir=/x\\,y", ",,c"])).toEqual(["a", "b", "lowerdir=/x\\,y", "c"]);
    fc.assert(fc.property(fc.array(fc.stringMatching(/^[a-z=]+$/)), (list) => {
      expect(splitWords([list.join(",")])).toEqual(list);
    }));
  });
  it("are looked up by key, the last one counts", () => {
    expect(optionValue(["size=1,pagesize=2", "size=3=4"], "size")).toBe("3=4");
    expect(optionValue(["size", "sized=1"], "size")).toBeUndefined();
  });
});

describe("reference counts", () => {
  const done = { mounted: true, folder: "empty" } as const;
  const table = (): StorageTable => new Map();

  it("give a mount back with its last user", () => {
    const t = table();
    register(t, "/m", false, false).done = done;
    expect(use(t, "/m")?.count).toBe(2);
    expect(drop(t, "/m")).toBeUndefined();
    expect(drop(t, "/m")).toBe(done);
    expect(drop(t, "/m")).toBeUndefined();
    expect(use(t, "/m")).toBeUndefined();
  });
  it("keep a shared mount until the end", () => {
    const t = table();
    register(t, "/m", true, false).done = done;
    expect(drop(t, "/m")).toBeUndefined();
    expect(drop(t, "/m")).toBeUndefined();
    expect(dropAll(t)).toEqual([["/m", done]]);
    expect(t.size).toBe(0);
  });
  it("end newest first", () => {
    const t = table();
    for (const m of ["/a", "/b", "/c"]) register(t, m, false, false).done = done;
    register(t, "/failed", false, false);
    expect(dropAll(t).map(([point]) => point)).toEqual(["/c", "/b", "/a"]);
  });
  it("never go wrong in any order of uses", () => {
    fc.assert(fc.property(fc.array(fc.boolean()), (steps) => {
      const t = table();
      let users = 0;
      for (const up of steps) {
        if (up) {
          if (use(t, "/m") === undefined) register(t, "/m", false, false).done = done;
          users++;
        } else {
          expect(drop(t, "/m") !== undefined).toBe(users === 1);
          users = Math.max(0, users - 1);
        }
        expect(t.get("/m")?.count ?? 0).toBe(users);
      }
    }));
  });
});

describe("group permissions", () => {
  it("are read and write, or read only, and more for folders", () => {
    expect(groupBits(false, false)).toBe(0o660);
    expect(groupBits(false, true)).toBe(0o440);
    expect(groupBits(true, false)).toBe(0o2770);
    expect(groupBits(true, true)).toBe(0o2550);
  });
  it("fit a root that has all of them and the group", () => {
    expect(rootFits({ mode: 0o42770, gid: 5 }, 5, false)).toBe(true);
    expect(rootFits({ mode: 0o42770, gid: 6 }, 5, false)).toBe(false);
    expect(rootFits({ mode: 0o40770, gid: 5 }, 5, false)).toBe(false);
    expect(rootFits({ mode: 0o42550, gid: 5 }, 5, true)).toBe(true);
  });
});

describe("drivers", () => {
  it("are found by name only", () => {
    expect(driverNames()).toEqual(expect.arrayContaining(["9p", "blk", "local", "nvdimm", "scsi", "virtio-fs", "watchable-bind"]));
    for (const bad of ["", "BLK", "constructor", "image_guest_pull"]) expect(() => driverNamed(bad)).toThrow(`Failed to find the storage handler ${bad}`);
  });
});

describe("watchable roots", () => {
  const root = "/run/kata-containers/shared/containers/watchable";
  it.each([`${root}/x`, "/run/kata-containers/shared/containers/passthrough/watchable/y", `/run/user/1000${root}/x`])("hold %s", (target) => {
    expect(watchableRoot(target)).toBe(target.slice(0, target.lastIndexOf("/")));
  });
  it.each([root, `${root}/`, `${root}/../x`, `${root}/a/b`, "/etc/x", `/run/user/0${root}/x`, `/run/user/01${root}/x`, `/run/user/x${root}/x`, "x", ""])("do not hold %j", (target) => {
    expect(() => watchableRoot(target)).toThrow(/invalid watchable tmpfs root/);
  });
});
