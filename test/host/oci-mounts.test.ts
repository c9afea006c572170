// What the command line makes of mounts and the root, each looked at from inside the container: options, places that images
// bend, copies, ids, propagation.
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bundles, sh, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { having, suite } from "../helpers/suite.js";

suite("the mounts of a bundle", { needs: ["agent"] }, () => {
  let box: Bundles;
  let data: string;
  beforeAll(() => {
    box = new Bundles();
    data = join(box.folder, "data");
    mkdirSync(data);
    writeFileSync(join(data, "file"), "data\n");
    chmodSync(box.folder, 0o711);
  });
  afterAll(() => box?.stop());
  const ok = (stdout: string): object => ({ status: 0, stdout, stderr: "" });
  const refused = (message: string): object => ({ status: 1, stdout: "", stderr: expect.stringContaining(message) as string });
  const mounts = (...more: object[]): ConfigChange => (c: Config) => void c.mounts.push(...(more as Config["mounts"]));
  /** Options of the mount at `at` as the container sees them; the file system's own after a space. */
  const seen = (at: string): string => `while read -r a b c d at options rest; do [ "$at" = ${at} ] && echo "$options \${rest##* }"; done < /proc/self/mountinfo`;
  const bind = (options: string[], source = data): object => ({ destination: "/mnt", type: "bind", source, options: ["bind", ...options] });

  const mappedUser: ConfigChange = (c) => {
    c.linux.namespaces.push({ type: "user" });
    Object.assign(c.linux, { uidMappings: [{ containerID: 0, hostID: 100000, size: 1000 }], gidMappings: [{ containerID: 0, hostID: 100000, size: 1000 }] });
  };
  /** A file system mounted with `options` as the source of binds, each with the options given: the flags that the container sees, or what is said. */
  function binds(options: string, also: ConfigChange, of: (flags: (...o: string[]) => string) => void): void {
    const at = join(box.folder, "flags");
    mkdirSync(at, { recursive: true });
    sh(`mount -t tmpfs -o mode=755 tmpfs ${at}; mount -o remount,bind,${options} ${at}`);
    try {
      of((...o) => {
        const { status, stdout, stderr } = box.run(`${seen("/tmp")}; true`, (c) => (mounts({ ...bind(o, at), destination: "/tmp" })(c), also(c)));
        return status === 0 ? stdout.split(" ")[0] ?? "" : stderr.includes("mount_setattr: EPERM") ? "EPERM" : stderr;
      });
    } finally {
      sh(`umount ${at}`);
    }
  }
  // [flags of the source, options of the bind, what it has, what it has in a user namespace]
  it.each([
    ["ro,nosuid,nodev,noexec", [], "ro,nosuid,nodev,noexec,relatime", "ro,nosuid,nodev,noexec,relatime"],
    ["ro,nosuid,nodev,noexec", ["rbind", "rprivate"], "ro,nosuid,nodev,noexec,relatime", "ro,nosuid,nodev,noexec,relatime"],
    ["ro,nosuid,nodev,noexec", ["rbind", "rprivate", "rw"], "rw,relatime", "EPERM"],
    ["ro,nosuid,nodev,noexec", ["dev"], "rw,relatime", "EPERM"],
    ["ro,noexec,nosymfollow,nodiratime", ["dev"], "rw,nodiratime,relatime", "ro,noexec,nodiratime,relatime"],
    ["ro", ["nosuid", "nodev", "rprivate"], "rw,nosuid,nodev,relatime", "ro,nosuid,nodev,relatime"],
    ["nosuid,nodev,noexec,noatime", ["ro"], "ro,noatime", "ro,nosuid,nodev,noexec,noatime"],
    ["nosuid,nodev,noatime", ["suid", "ro", "rw"], "rw,noatime", "EPERM"],
    ["nodev,nosymfollow", ["ro", "symfollow"], "ro,relatime", "ro,nodev,relatime"],
    ["noatime", ["atime"], "rw,noatime", "rw,noatime"],
    ["noatime,nodiratime", ["norelatime"], "rw,noatime,nodiratime", "rw,noatime,nodiratime"],
    ["nodiratime", ["diratime"], "rw,nodiratime,relatime", "rw,nodiratime,relatime"],
    ["noatime", ["nodiratime"], "rw,nodiratime,relatime", "EPERM"],
    ["noatime", ["relatime"], "rw,relatime", "EPERM"],
    ["nodiratime", ["strictatime"], "rw", "EPERM"],
    ["noatime", ["noatime", "ro"], "ro,noatime", "ro,noatime"],
    ["noatime", ["nodiratime", "strictatime", "nosymfollow"], "rw,nodiratime,nosymfollow", "EPERM"],
  ] as const)("of a bind of a source %s with %j are %s, and %s in a user namespace", (source, options, plain, mapped) => {
    binds(source, () => undefined, (flags) => expect(flags(...options)).toBe(plain));
    binds(source, mappedUser, (flags) => expect(flags(...options)).toBe(mapped));
  });

  /** What runc (1.2 and later) does with the same flags: mount(2) with them, and where that is not permitted with those of the source that are locked. */
  const RUNC = `import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
source, at, cases = json.load(sys.stdin)
TIMES, LOCKED = 0x1200c00, 0x1200c0f
for flags, cleared in cases:
    libc.mount(source.encode(), at.encode(), None, 4096, None)
    change = lambda more: libc.mount(None, at.encode(), None, 4096 | 32 | flags | more, None)
    has = os.statvfs(source).f_flag & 0x1c0f
    has = has & 0xc0f | (0x200000 if has & 0x1000 else 0 if has & 0x400 else 0x1000000)
    good = (flags | cleared) == 0 or change(0) == 0 or not (has & cleared & LOCKED or flags & TIMES and flags & TIMES != has & TIMES) and change(has & LOCKED) == 0
    print([line.split()[5] for line in open("/proc/self/mountinfo") if line.split()[4] == at][-1] if good else "EPERM")
    libc.umount2(at.encode(), 2)`;
  const BITS = { ro: 1, nosuid: 2, nodev: 4, noexec: 8, sync: 16, nosymfollow: 256, noatime: 1024, nodiratime: 2048, silent: 32768, relatime: 0x200000, strictatime: 0x1000000 };
  const OFF = { rw: 1, suid: 2, dev: 4, exec: 8, async: 16, symfollow: 256, atime: 1024, diratime: 2048, loud: 32768, norelatime: 0x200000, nostrictatime: 0x1000000 };
  const CASES = ["rprivate", "defaults", ...Object.keys(BITS), ...Object.keys(OFF), "ro,rw", "rw,nosuid", "noatime,relatime", "nodiratime,noatime", "nodiratime,strictatime", "nodiratime,relatime", "noatime,strictatime", "ro,noatime", "atime,ro", "atime,nodiratime",
    "diratime,nosuid", "suid,ro,rw", "ro,nosuid,nodev,noexec"];
    having("program:python3").each(["relatime", "ro,nosuid,nodev,noexec,noatime,nodiratime", "strictatime,nosymfollow,nodev"])("of a bind of a source %s are those of runc with all options, in a user namespace too", { timeout: 120_000 }, async (source) => {
    const at = join(box.folder, "runc-source");
    const place = join(box.folder, "runc-place");
    for (const dir of [at, place]) mkdirSync(dir, { recursive: true });
    sh(`mount -t tmpfs -o mode=755 tmpfs ${at}; mount -o remount,bind,${source} ${at}`);
    try {
      const flagsOf = (words: string): [number, number] => words.split(",").reduce<[number, number]>(([set, clear], word) => {
        const [on, off] = [(BITS as Record<string, number>)[word] ?? 0, (OFF as Record<string, number>)[word] ?? 0];
        return [(set | on) & ~off, (clear | off) & ~on];
      }, [0, 0]);
      const input = JSON.stringify([at, place, CASES.map(flagsOf)]);
      const runc = (...how: string[]): string[] => spawnSync("unshare", [...how, "--mount", "python3", "-c", RUNC], { encoding: "utf8", input }).stdout.trim().split("\n");
      const optionsAt = (cases: string[], change: ConfigChange): string[] => {
        const list = cases.map((words, i) => ({ destination: `/tmp/${i}`, type: "bind", source: at, options: ["rbind", ...words.split(",")] }));
        const { stdout, stderr } = box.run("cat /proc/self/mountinfo", (c) => (mounts({ destination: "/tmp", type: "tmpfs", source: "tmpfs" }, ...list)(c), change(c)));
        const lines = stdout.split("\n").map((line) => line.split(" "));
        return stderr.includes("mount_setattr: EPERM") ? cases.map(() => "EPERM") : cases.map((_, i) => lines.find((line) => line[4] === `/tmp/${i}`)?.[5] ?? stderr);
      };
      const all = async (how: string[], change: ConfigChange): Promise<void> => {
        const wanted = runc(...how);
        const made = CASES.filter((_, i) => wanted[i] !== "EPERM");
        const got = new Map(optionsAt(made, change).map((options, i) => [made[i], options]));
        for (const words of CASES.filter((it) => !got.has(it))) {
          got.set(words, optionsAt([words], change)[0] ?? "");
          await new Promise((done) => setImmediate(done)); // the test runner takes a worker that is not heard of for a minute for lost
        }
        expect(CASES.map((words) => [words, got.get(words)])).toEqual(CASES.map((words, i) => [words, wanted[i]]));
      };
      await all([], () => undefined);
      await all(["--user", "--map-root-user"], mappedUser);
    } finally {
      sh(`umount ${at}`);
    }
  });

  it("take recursive attributes down to what is mounted below", () => {
    const at = join(box.folder, "below");
    mkdirSync(join(at, "sub"), { recursive: true });
    sh(`mount -t tmpfs tmpfs ${at}/sub`);
    try {
      const tree = (...o: string[]): string => box.run(`${seen("/mnt")}; ${seen("/mnt/sub")}`, mounts({ ...bind(o, at), options: ["rbind", ...o] })).stdout;
      expect(tree("ro").split("\n").map((l) => l.slice(0, 2))).toEqual(["ro", "rw", ""]);
      expect(tree("rro", "rnoexec", "rnoatime").split("\n").map((l) => l.split(" ")[0])).toEqual(["ro,noexec,noatime", "ro,noexec,noatime", ""]);
      expect(tree("rrelatime").split("\n").map((l) => l.split(" ")[0])).toEqual(["rw,relatime", "rw,relatime", ""]);
      expect(box.run(seen("/mnt/sub"), mounts(bind([], at))).stdout).toBe("");
    } finally {
      sh(`umount ${at}/sub`);
    }
  });

  it("are private, shared, slave or unbindable as asked", () => {
    const fields = "while read -r a b c d at options rest; do rest=\" $rest\"; [ $at = /mnt ] && echo ${rest%% - *}; done < /proc/self/mountinfo";
    const spread = (...o: string[]): string => box.run(fields, mounts(bind(o))).stdout.replace(/[0-9]+/g, "N");
    expect(spread("rshared")).toMatch(/^shared:N/);
    expect(spread("private")).toBe("\n");
    expect(spread("unbindable")).toBe("unbindable\n");
  });

  it("find their place inside the root, make what is missing, and may be relative", () => {
    const change: ConfigChange = (c) => {
      mounts({ destination: "a/b//c", type: "bind", source: "../data", options: ["rbind"] }, { destination: "/etc/one", type: "bind", source: join(data, "file"), options: ["bind", "ro"] })(c);
    };
    expect(box.run("cat /a/b/c/file /etc/one; echo x > /etc/one", change)).toMatchObject({ status: 1, stdout: "data\ndata\n" });
    const bundle = box.make("readlink /etc/resolv; cat /etc/resolv", mounts({ destination: "/etc/resolv", type: "bind", source: join(data, "file"), options: ["bind"] }));
    symlinkSync("../not/there/yet", join(bundle, "rootfs/etc/resolv"));
    expect(box.command(["run", "--bundle", bundle, box.id()])).toEqual(ok("../not/there/yet\ndata\n"));
    expect(existsSync(join(bundle, "rootfs/not/there/yet"))).toBe(true);
  });

  it("follow no last link where they are told so, and copy one", () => {
    symlinkSync("nowhere", join(data, "link"));
    const at = (options: string[], source: string): ConfigChange => mounts({ destination: "/tmp/it", type: "bind", source: join(data, source), options: ["bind", ...options] });
    expect(box.run("readlink /tmp/it", at(["copy-symlink"], "link"))).toEqual(ok("nowhere\n"));
    const bundle = (options: string[], source: string): string => {
      const dir = box.make("readlink /tmp/it || cat /tmp/it", at(options, source));
      symlinkSync("elsewhere", join(dir, "rootfs/tmp/it"));
      return dir;
    };
    const run = (dir: string): object => box.command(["run", "--bundle", dir, box.id()]);
    expect(run(bundle(["src-nofollow", "dest-nofollow"], "link"))).toEqual(ok("nowhere\n"));
    expect(run(bundle(["dest-nofollow"], "file"))).toEqual(ok("data\n"));
  });

  it("of a tmpfs have its options and the mode of what they cover; read-only ones are filled first", () => {
    const change: ConfigChange = (c) => {
      mounts({ destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["size=64k", "nosuid", "noexec", "mode=1700", "sync"] }, { destination: "/root", type: "tmpfs", source: "tmpfs", options: ["ro"] })(c);
      const dev = c.mounts.find((m) => m["destination"] === "/dev");
      if (dev !== undefined) dev["options"] = ["ro", "mode=755"];
    };
    const bundle = box.make(`${seen("/mnt")}; stat -c %a /mnt /root; ls -d /dev/null /dev/ptmx; touch /dev/x`, change);
    chmodSync(join(bundle, "rootfs/root"), 0o712);
    const { stdout, stderr } = box.command(["run", "--bundle", bundle, box.id()]);
    expect(stdout).toMatch(/^rw,nosuid,noexec,relatime rw,sync,size=64k,mode=1700.*\n1700\n712\n\/dev\/null\n\/dev\/ptmx\n$/);
    expect(stderr).toContain("Read-only file system");
  });

  it("of a tmpfs with tmpcopyup begin with what the image has there", () => {
    const bundle = box.make("cd /etc/d; stat -c '%n %a %u:%g %F' * sub/*; cat sub/f; readlink l; echo new > sub/f", mounts({ destination: "/etc/d", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "ro"] }));
    const at = join(bundle, "rootfs/etc/d");
    mkdirSync(join(at, "sub"), { recursive: true });
    writeFileSync(join(at, "sub/f"), "old\n");
    chmodSync(join(at, "sub/f"), 0o4751);
    chownSync(join(at, "sub"), 5, 6);
    symlinkSync("/gone", join(at, "l"));
    sh(`mkfifo -m 640 ${at}/p`);
    const { stdout, stderr } = box.command(["run", "--bundle", bundle, box.id()]);
    expect(stdout).toBe("l 777 0:0 symbolic link\np 640 0:0 fifo\nsub 755 5:6 directory\nsub/f 4751 0:0 regular file\nold\n/gone\n");
    expect(stderr).toContain("Read-only file system");
    expect(readFileSync(join(at, "sub/f"), "utf8")).toBe("old\n");
  });

  it("may cover the root itself", () => {
    const copied: ConfigChange = (c) => void c.mounts.unshift({ destination: "/", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] });
    expect(box.run("echo x > /new; grep -c ' / / ' /proc/self/mountinfo; stat -f -c %T /", copied)).toEqual(ok("1\ntmpfs\n"));
    const root = box.make("true");
    const bound: ConfigChange = (c) => void c.mounts.unshift({ destination: "/", type: "bind", source: join(root, "rootfs"), options: ["bind"] });
    expect(box.run("ls -d /dev/null; touch /here", bound)).toEqual(ok("/dev/null\n"));
    expect(existsSync(join(root, "rootfs/here"))).toBe(true);
  });

  it("are changed by remount", () => {
    const change = mounts({ destination: "/mnt", type: "tmpfs", source: "tmpfs" }, { destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["remount", "size=128k"] }, { destination: "/mnt", type: "none", options: ["bind", "remount", "ro"] });
    expect(box.run(seen("/mnt"), change).stdout).toMatch(/^ro,relatime rw,size=128k/);
  });

  it("map the owners of files", () => {
    const maps = { uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }], gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }] };
    const owner = "stat -c %u:%g /tmp/file; touch /tmp/new && stat -c %u:%g /tmp/new";
    expect(box.run("stat -c %u:%g /mnt/file", mounts({ ...bind(["idmap", "ro"]), ...maps }))).toEqual(ok("1000:2000\n"));
    expect(box.run("stat -c %u:%g /mnt/file", mounts({ ...bind(["ridmap"]), ...maps }))).toEqual(ok("1000:2000\n"));
    expect(box.run("stat -c %u:%g /mnt/file", mounts({ ...bind([]), ...maps }))).toEqual(ok("1000:2000\n"));
    const user: ConfigChange = (c) => {
      c.linux.namespaces.push({ type: "user" });
      c.linux["uidMappings"] = c.linux["gidMappings"] = [{ containerID: 0, hostID: 100000, size: 65536 }];
      mounts({ ...bind(["idmap"]), destination: "/tmp" })(c);
    };
    expect(box.run(owner, user)).toEqual(ok("0:0\n0:0\n"));
    expect(lstatSync(join(data, "new")).uid).toBe(0);
  });

  describe("of a bind of the container's own tree see the mounts before it", () => {
    const maps = (hostID: number): object[] => [{ containerID: 0, hostID, size: 1000 }];
    let outer = "";
    beforeAll(() => {
      outer = join(box.folder, "outer");
      mkdirSync(join(outer, "x/closed/in"), { recursive: true });
      writeFileSync(join(outer, "x/who"), "the mount's\n");
      chownSync(join(outer, "x/who"), 7, 8);
      chmodSync(join(outer, "x/closed"), 0o700);
    });
    const user: ConfigChange = (c) => {
      c.linux.namespaces.push({ type: "user" });
      Object.assign(c.linux, { uidMappings: maps(100000), gidMappings: maps(100000) });
    };
    type Run = (script: string, more: (root: string) => object[], closed?: boolean) => object;
    const run = (change: ConfigChange): Run => (script, more, closed = false) => {
      const bundle = box.make(script, change);
      const root = join(bundle, "rootfs");
      for (const dir of ["m/x", "f", "a", "b"]) mkdirSync(join(root, dir), { recursive: true }); // which a mapped root could not make
      writeFileSync(join(root, "m/x/who"), "the image's\n");
      symlinkSync("m", join(root, "link"));
      const file = join(bundle, "config.json");
      const config = JSON.parse(readFileSync(file, "utf8")) as Config;
      mounts(...more(root))(config);
      writeFileSync(file, JSON.stringify(config));
      if (closed) chmodSync(bundle, 0o700);
      return box.command(["run", "--bundle", bundle, box.id()]);
    };
    const first = (options = ["bind"], destination = "/m"): object => ({ destination, type: "bind", source: outer, options });
    const then = (source: string, options = ["bind", "idmap"], hostID = 100000): object => ({ destination: "/f", type: "bind", source, options, ...(options[1]?.includes("idmap") ? { uidMappings: maps(hostID), gidMappings: maps(hostID) } : {}) });
    const look = "cat /f/who; stat -c %u:%g /f/who";

    it.each([["", () => undefined, "100007:100008"], [", in a user namespace", user, "7:8"]] as const)("with ids of its own%s", async (_, change, ids) => {
      const at = run(change);
      const right = ok(`the mount's\n${ids}\n`);
      for (const closed of [false, true]) {
        expect(at(look, (root) => [first(), then(`${root}/m/x`)], closed)).toEqual(right);
        expect(at(look, (root) => [first(["rbind"]), then(`${root}//m/../m/x/`, ["rbind", "ridmap"])], closed)).toEqual(right);
        expect(at(look, (root) => [first(["bind"], "/link"), then(`${root}/m/x`)], closed)).toEqual(right);
        expect(at(look, (root) => [first(), then(`${root}/link/x`)], closed)).toEqual(right);
        expect(at(look, (root) => [first(["bind"], "/a"), { destination: "/b", type: "bind", source: `${root}/a/x`, options: ["bind"] }, then(`${root}/b`)], closed)).toEqual(right);
        expect(at("ls -d /f/in", (root) => [first(), then(`${root}/m/x/closed/in/..`)], closed)).toEqual(ok("/f/in\n"));
        expect(at("cat /f/who", (root) => [then(`${root}/m/x`), first()], closed)).toEqual(ok("the image's\n")); // not there yet
        await new Promise((done) => setImmediate(done)); // the test runner takes a worker that is not heard of for a minute for lost
      }
      expect(at("cat /f/x/who", (root) => [first(), then(`${root}/m`)])).toEqual(ok("the mount's\n"));
      expect(at(`${seen("/f")} | cut -d, -f1`, (root) => [first(["bind", "ro"]), then(`${root}/m/x`)])).toEqual(ok("ro\n")); // as what it is of
      expect(at("true", (root) => [first(), then(`${root}/m/nowhere`)])).toEqual(refused("ENOENT"));
      expect(at("cat /f/who", (root) => (symlinkSync(join(root, "m"), join(box.folder, `back${ids}`)), [first(), then(join(box.folder, `back${ids}`, "x"))]))).toEqual(ok("the mount's\n"));
    });

    it.each([["", () => undefined], [", in a user namespace", user]] as const)("without%s", (_, change) => {
      const at = run(change);
      for (const closed of [false, true]) {
        for (const place of ["/m", "/link", "m//."]) expect(at("cat /f/who", (root) => [first(["bind"], place), then(`${root}/m/x`, ["bind"])], closed)).toEqual(ok("the mount's\n"));
        expect(at("ls -d /f/in", (root) => [first(), then(`${root}/m/x/closed/in/..`, ["bind"])], closed)).toMatchObject({ stdout: change === user ? "" : "/f/in\n" });
      }
      const tmpfs = { destination: "/m", type: "tmpfs", source: "tmpfs", options: ["mode=711"] };
      expect(at("stat -c %a /f", (root) => [tmpfs, then(`${root}/m`, ["bind"])])).toEqual(ok("711\n"));
      if (change !== user) expect(at("stat -c %a /f", (root) => [tmpfs, then(`${root}/m`)])).toEqual(ok("711\n"));
    });
  });

  it("leave the machine's mount table and the engine no namespace behind", () => {
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    const maps = [{ containerID: 0, hostID: 1000, size: 10 }];
    expect(box.run("ls /proc/self/fd", mounts({ ...bind(["idmap"]), uidMappings: maps, gidMappings: maps })).stdout).toBe("0\n1\n2\n3\n");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
  });

  it("show the container's own cgroups, with and without a namespace for them", () => {
    const at: ConfigChange = (c) => mounts({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", "nosuid"] })(c);
    const script = "[ -e /sys/fs/cgroup/pids ] && at=/sys/fs/cgroup/pids || at=/sys/fs/cgroup; grep -c . $at/cgroup.procs; mkdir $at/x || touch /sys/fs/cgroup/x";
    const plain = box.run(script, at);
    expect(plain.stdout).toMatch(/^[1-9]\n$/);
    expect(plain.stderr.match(/Read-only file system/g)).toHaveLength(2);
    const own = box.run(script, (c) => (at(c), c.linux.namespaces.push({ type: "cgroup" })));
    expect(own.stdout).toMatch(/^[1-9]\n$/);
    expect(own.stderr.match(/Read-only file system/g)).toHaveLength(2);
  });

  it("are refused by the field that is wrong", () => {
    const maps = { uidMappings: [{ containerID: 0, hostID: 1, size: 1 }] };
    expect(box.run("true", mounts({ destination: "/mnt", type: "bind" }))).toEqual(refused("mounts[4].source: a bind mount needs a source"));
    expect(box.run("true", mounts(bind(["idmap"])))).toEqual(refused("mounts[4].options: idmap needs uidMappings and gidMappings, or a user namespace"));
    expect(box.run("true", mounts({ ...bind(["idmap"]), ...maps }))).toEqual(refused("mounts[4].gidMappings: are missing"));
    expect(box.run("true", mounts({ destination: "/mnt", type: "tmpfs", options: ["idmap"], ...maps, gidMappings: maps.uidMappings }))).toEqual(refused("mounts[4].uidMappings: only of a bind mount"));
    expect(box.run("true", mounts(bind([], "/not/there")))).toEqual(refused("mount /not/there (bind) on /mnt: open_tree: ENOENT"));
    expect(box.run("true", (c) => ((c.linux.namespaces = [{ type: "pid" }]), (c.root["readonly"] = true)))).toEqual(refused("root.readonly: needs a mount namespace"));
  });

  it("are not made without a mount namespace, and the machine's stay as they are", () => {
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    const { status, stdout, stderr } = box.run("ls /; [ -e /proc/self ] || echo none", (c) => (c.linux.namespaces = [{ type: "pid" }]));
    expect({ status, stdout }).toEqual({ status: 0, stdout: "bin\ndev\netc\nproc\nroot\nrun\nsys\ntmp\nnone\n" });
    expect(stderr).toContain("without a mount namespace nothing is mounted");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
  });

  it("are the same under a root that is moved instead of pivoted", () => {
    const bundle = box.make("ls /; ls -d /dev/null; cut -d' ' -f5 /proc/self/mountinfo | sort | uniq -d", (c) => (c.root["readonly"] = true));
    expect(box.command(["run", "--no-pivot", "--bundle", bundle, box.id()])).toEqual(ok("bin\ndev\netc\nproc\nroot\nrun\nsys\ntmp\n/dev/null\n"));
  });

  it("are kept under a root that is moved, whatever its name", () => {
    const bundle = box.make("grep -c . /proc/self/mountinfo >/dev/null && ls -d /sys/kernel", (c) => (c.root["path"] = "root fs\\040"));
    renameSync(join(bundle, "rootfs"), join(bundle, "root fs\\040"));
    expect(box.command(["run", "--no-pivot", "--bundle", bundle, box.id()])).toEqual(ok("/sys/kernel\n"));
  });

  describe("make the root", () => {
    it.each([["private", /^\n$/], ["unbindable", /^unbindable\n$/], ["shared", /^shared:N/]])("%s", (word, expected) => {
      const fields = "while read -r a b c d at options rest; do rest=\" $rest\"; [ $at = / ] && echo ${rest%% - *}; done < /proc/self/mountinfo";
      expect(box.run(fields, (c) => (c.linux["rootfsPropagation"] = word)).stdout.replace(/[0-9]+/g, "N")).toMatch(expected);
    });

    it("a peer of the machine's where all is shared", () => {
      const at = join(box.folder, "peer");
      mkdirSync(join(at, "sub"), { recursive: true });
      sh(`mount --bind ${at} ${at} && mount --make-shared ${at}`);
      const change = (propagation: string): ConfigChange => (c) => {
        (c.process["capabilities"] as { [k: string]: string[] })["effective"] = (c.process["capabilities"] as { [k: string]: string[] })["permitted"] = (c.process["capabilities"] as { [k: string]: string[] })["bounding"] = ["CAP_SYS_ADMIN"];
        if (propagation !== "") c.linux["rootfsPropagation"] = propagation;
        mounts(bind(["rshared"], at))(c);
      };
      const there = (): number => readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter((l) => l.split(" ")[4] === join(at, "sub")).length;
      try {
        box.sleeper((c) => (change("")(c), (c.process["args"] = ["/bin/sh", "-c", "mount -t tmpfs tmpfs /mnt/sub; sleep 1000"])));
        expect(box.run("mount -t tmpfs tmpfs /mnt/sub && echo done", change(""))).toEqual(ok("done\n"));
        expect(there()).toBe(0);
        expect(box.run("mount -t tmpfs tmpfs /mnt/sub && echo done", change("shared"))).toEqual(ok("done\n"));
        expect(there()).toBe(1);
      } finally {
        sh(`umount -R ${at}`);
      }
    });
  });
});
