// User and time namespaces of the command line: maps, what a mapped root cannot reach, joined namespaces, a caller without
// privileges, and clocks with offsets.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { BINARY } from "../helpers/private-agent.js";
import { has, having, suite, when } from "../helpers/suite.js";

const rootless = has("setpriv") && existsSync("/usr/bin/newuidmap") && existsSync("/etc/subuid") && existsSync("/etc/subgid");
const ranges = when(rootless, "needs setpriv, newuidmap, /etc/subuid and /etc/subgid");

const [major = 0, minor = 0] = release().split(".").map(Number);
const copies = when(major > 6 || (major === 6 && minor >= 15), "this kernel copies no mounts from a file system that is mounted nowhere (6.15)");

const FIRST = 100000;
const RANGE = 700000;
const maps = (hostID = FIRST, size = 65536): object[] => [{ containerID: 0, hostID, size }];
const mapped = (c: Config, hostID = FIRST, size = 65536): void => {
  c.linux.namespaces.push({ type: "user" });
  c.linux["uidMappings"] = c.linux["gidMappings"] = maps(hostID, size);
};

suite("a user namespace", { needs: ["agent", "user namespaces"] }, () => {
  let box: Bundles;
  let holder: ChildProcess;
  beforeAll(async () => {
    box = new Bundles();
    chmodSync(box.folder, 0o700); // nothing below it is within reach of a mapped root
    holder = spawn("unshare", ["--user", "sleep", "1000"], { stdio: "ignore" });
    const others = (): boolean => readFileSync(`/proc/${holder.pid}/comm`, "utf8") === "sleep\n";
    await until("the holder runs", others);
    for (const kind of ["uid", "gid"]) writeFileSync(`/proc/${holder.pid}/${kind}_map`, `0 ${FIRST} 65536`);
  });
  afterAll(() => {
    holder?.kill("SIGKILL");
    box?.stop();
  });
  const ok = (stdout: string): object => ({ status: 0, stdout, stderr: "" });
  const refused = (message: string): object => ({ status: 1, stdout: "", stderr: expect.stringContaining(message) as string });

  it("has the maps asked for, and a root out of its reach", () => {
    const script = "cat /proc/self/uid_map | tr -s ' '; id -u; id -G; stat -c %u /bin; echo x > /dev/null; ls -d /dev/ptmx /dev/pts/ptmx; touch /dev/x && stat -c %u:%g /dev/x";
    expect(box.run(script, (c) => mapped(c))).toEqual(ok(` 0 ${FIRST} 65536\n0\n0\n65534\n/dev/ptmx\n/dev/pts/ptmx\n0:0\n`));
  });

  it("may bind a tree in which somebody has pinned a mount namespace, and finds all of it", () => {
    const top = join(box.folder, "pins");
    const script = `mkdir -p ${top}/a/b; touch ${top}/a/mnt; mount --bind ${top} ${top}; mount --make-private ${top}; mount -t tmpfs tmpfs ${top}/a/b; touch ${top}/a/b/file; unshare --mount=${top}/a/mnt true`;
    const bound = (source: string, options: string[], run: string, destination = "/tmp"): ReturnType<typeof box.run> => box.run(run, (c) => {
      mapped(c);
      c.mounts.push({ destination, type: "bind", source, options });
    });
    try {
      expect(spawnSync("sh", ["-ec", script]).status).toBe(0);
      const look = (at: string): string => `ls ${at}/a ${at}/a/b; touch /tmp/x 2>&1 | grep -o Read-only`;
      const all = (at: string): object => ok(`${at}/a:\nb\nmnt\n\n${at}/a/b:\nfile\nRead-only\n`);
      expect(bound(top, ["rbind", "ro"], look("/tmp"))).toEqual(all("/tmp")); // in a folder that the container's root may not enter
      expect(bound("/", ["rbind", "ro"], "ls -d /tmp/proc/self; touch /tmp/x 2>&1 | grep -o Read-only")).toEqual(ok("/tmp/proc/self\nRead-only\n"));
      chmodSync(box.folder, 0o711);
      expect(bound(top, ["rbind", "ro"], look("/tmp"))).toEqual(all("/tmp"));
      expect(bound("/", ["rbind", "ro"], look(`/tmp${top}`))).toEqual(all(`/tmp${top}`));
      expect(bound(`${top}/a/mnt`, ["bind"], "stat -c %s%F /dev/pin", "/dev/pin")).toEqual(ok("0regular empty file\n")); // what lies below it
      expect(bound(top, ["rbind", "idmap"], "ls -d /tmp/a/mnt; stat -c %u /tmp/a")).toEqual(ok("/tmp/a/mnt\n0\n"));
    } finally {
      spawnSync("sh", ["-c", `umount ${top}/a/mnt ${top}/a/b; umount ${top}`]);
      chmodSync(box.folder, 0o700);
    }
  });

  it("keeps the flags of the machine's mounts, and what lies under them, from its root", () => {
    const top = join(box.folder, "kept");
    const script = `mkdir -p ${top}/sub; touch ${top}/sub/under; mount -t tmpfs -o mode=777 tmpfs ${top}; mkdir ${top}/sub; touch ${top}/sub/under; mount -t tmpfs tmpfs ${top}/sub; mount -o remount,bind,ro,nodev,nosuid ${top}`;
    try {
      expect(spawnSync("sh", ["-ec", script]).status).toBe(0);
      const run = (options: string[], tries: string): ReturnType<typeof box.run> => box.run(`{ ${tries}; } 2>/dev/null; grep ' /tmp ' /proc/self/mountinfo | cut -d' ' -f6; ls /tmp/sub`, (c) => {
        mapped(c);
        c.mounts.push({ destination: "/tmp", type: "bind", source: top, options });
      });
      expect(run(["rbind"], "for o in rw,nodev,nosuid ro,dev,nosuid ro,nodev,suid; do mount -o remount,bind,$o /tmp; done; umount /tmp/sub")).toEqual(ok("ro,nosuid,nodev,relatime\n"));
      expect(run(["rbind", "ro", "nosuid"], "mount -o remount,bind,rw /tmp; umount /tmp/sub")).toEqual(ok("ro,nosuid,nodev,relatime\n"));
      expect(run(["bind"], ":").stderr).toContain("something is mounted below it");
      expect(run(["rbind", "rrw"], ":").stderr).toContain("EPERM");
    } finally {
      spawnSync("sh", ["-c", `umount ${top}/sub; umount ${top}`]);
    }
  });

  it("maps the caller alone when no maps are given", () => {
    expect(box.run("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '", (c) => c.linux.namespaces.push({ type: "user" }))).toEqual(ok(" 0 0 1\n 0 0 1\n"));
  });

  having(copies)("has devices of its own, with owner and mode", () => {
    const device = (path: string, more: object): object => ({ path, type: "c", major: 1, minor: 3, ...more });
    const change: ConfigChange = (c) => {
      mapped(c);
      c.linux["devices"] = [device("/dev/a", { uid: 10, gid: 11, fileMode: 0o157 }), device("/dev/sub/b", { type: "b", major: 7, minor: 1 }), device("/dev/p", { type: "p", fileMode: 0o640 })];
    };
    expect(box.run("stat -c '%n %F %a %u:%g %t:%T' /dev/a /dev/sub/b /dev/p; echo x > /dev/a && echo open", change)).toEqual(ok(
      "/dev/a character special file 157 10:11 1:3\n/dev/sub/b block special file 666 0:0 7:1\n/dev/p fifo 640 0:0 0:0\nopen\n"));
  });

  it("owns the container's other namespaces", () => {
    const change: ConfigChange = (c) => {
      mapped(c);
      c["hostname"] = "mapped";
      c.linux.namespaces.push({ type: "cgroup" });
      c.linux["sysctl"] = { "net.ipv4.ip_forward": "1" };
      c.process["capabilities"] = { bounding: ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"], effective: ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"], permitted: ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] };
    };
    expect(box.run("hostname; cat /proc/sys/net/ipv4/ip_forward; hostname other && ip link set lo down && mount -t tmpfs tmpfs /tmp && echo done", change)).toEqual(ok("mapped\n1\ndone\n"));
  });

  it("runs a mapped user, whose groups are set, and further processes too", () => {
    const change: ConfigChange = (c) => {
      mapped(c);
      c.process["user"] = { uid: 1000, gid: 1001, additionalGids: [5, 6] };
    };
    expect(box.run("id -u; id -G", change)).toEqual(ok("1000\n1001 5 6\n"));
    const id = box.sleeper(change);
    expect(box.command(["exec", id, "/bin/sh", "-c", "id -u; id -G; cat /proc/self/uid_map | tr -s ' '"])).toEqual(ok(`1000\n1001 5 6\n 0 ${FIRST} 65536\n`));
  });

  it("binds what its root could not reach, and lets it be", () => {
    const secret = join(box.folder, "secret/m");
    mkdirSync(secret, { recursive: true });
    writeFileSync(join(secret, "f"), "hello\n");
    chmodSync(join(box.folder, "secret"), 0);
    const change: ConfigChange = (c) => {
      mapped(c);
      c.mounts.push({ destination: "/tmp", type: "bind", source: secret, options: ["rbind", "ro"] });
    };
    const { stdout, stderr } = box.run("cat /tmp/f; touch /tmp/g", change);
    expect(stdout).toBe("hello\n");
    expect(stderr).toContain("Read-only file system");
  });

  it("has a devpts without a group that it does not have", () => {
    const change = (size: number): ConfigChange => (c) => {
      mapped(c, 0, size);
      const pts = c.mounts.find((m) => m["type"] === "devpts");
      if (pts !== undefined) pts["options"] = ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    };
    expect(box.run("grep -c 'devpts.*gid=5' /proc/self/mountinfo", change(1))).toMatchObject({ stdout: "0\n", stderr: "" });
    expect(box.run("grep -c 'devpts.*gid=5' /proc/self/mountinfo", change(6))).toEqual(ok("1\n"));
  });

  it("without process, network and ipc namespaces has the machine's proc, sysfs and mqueue", () => {
    const change: ConfigChange = (c) => {
      mapped(c);
      c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] === "mount" || n["type"] === "user");
      if (existsSync("/dev/mqueue")) c.mounts.push({ destination: "/dev/mqueue", type: "mqueue", source: "mqueue" });
    };
    expect(box.run("[ -d /proc/1 ] && [ -d /sys/kernel ] && grep -c ' /sys ro' /proc/self/mountinfo", change)).toEqual(ok("1\n"));
  });

  it("is refused with maps that it cannot have", () => {
    expect(box.run("true", (c) => (mapped(c), delete c.linux["gidMappings"]))).toEqual(refused("linux.namespaces: a user namespace needs uidMappings and gidMappings"));
    expect(box.run("true", (c) => (mapped(c), (c.process["user"] = { uid: 70000, gid: 0 })))).toEqual(refused("process.user.uid: 70000 is not in linux.uidMappings"));
    expect(box.run("true", (c) => (mapped(c), (c.process["user"] = { uid: 0, gid: 0, additionalGids: [1, 70000] })))).toEqual(refused("process.user.additionalGids[1]: 70000"));
    const many = Array.from({ length: 341 }, (_, i) => ({ containerID: i, hostID: FIRST + i, size: 1 }));
    expect(box.run("true", (c) => (mapped(c), (c.linux["uidMappings"] = many)))).toEqual(refused("linux.uidMappings: 341 are more than the 340"));
    expect(box.run("true", (c) => (mapped(c), (c.linux["gidMappings"] = [...maps(), ...maps(5)])))).toEqual(refused("linux.gidMappings[1]: has ids of linux.gidMappings[0]"));
    expect(box.run("id -u", (c) => (mapped(c), (c.linux["uidMappings"] = many.slice(0, 100))))).toEqual(ok("0\n"));
  });

  describe("of others", () => {
    const join_: ConfigChange = (c) => void c.linux.namespaces.push({ type: "user", path: `/proc/${holder.pid}/ns/user` });
    it("is joined, with new namespaces that belong to it", () => {
      const change: ConfigChange = (c) => {
        join_(c);
        c["hostname"] = "joined";
        c.process["rlimits"] = [{ type: "RLIMIT_NOFILE", soft: 100, hard: 4096 }];
        c.process["oomScoreAdj"] = 500;
      };
      expect(box.run("cat /proc/self/uid_map | tr -s ' '; echo $$; hostname; id -u; ulimit -n; cat /proc/self/oom_score_adj", change)).toEqual(ok(` 0 ${FIRST} 65536\n1\njoined\n0\n100\n500\n`));
      const id = box.sleeper(change);
      expect(box.command(["exec", id, "/bin/sh", "-c", "cat /proc/self/uid_map | tr -s ' '; hostname"])).toEqual(ok(` 0 ${FIRST} 65536\njoined\n`));
    });

    it("is joined after a network namespace that the machine's root owns", () => {
      const name = `kata${process.pid}`;
      expect(spawnSync("ip", ["netns", "add", name]).status).toBe(0);
      try {
        const net: ConfigChange = (c) => {
          for (const n of c.linux.namespaces) if (n["type"] === "network") n["path"] = `/run/netns/${name}`;
        };
        const inode = statSync(`/run/netns/${name}`).ino;
        expect(box.run("readlink /proc/self/ns/net", (c) => (join_(c), net(c)))).toEqual(ok(`net:[${inode}]\n`));
        expect(box.run("readlink /proc/self/ns/net", (c) => (mapped(c), net(c)))).toEqual(ok(`net:[${inode}]\n`));
      } finally {
        spawnSync("ip", ["netns", "del", name]);
      }
    });

    it("is joined with maps only when they are its own", () => {
      expect(box.run("id -u", (c) => (join_(c), (c.linux["uidMappings"] = c.linux["gidMappings"] = maps())))).toEqual(ok("0\n"));
      expect(box.run("id -u", (c) => (join_(c), (c.linux["uidMappings"] = c.linux["gidMappings"] = maps(5))))).toEqual(refused(`linux.uidMappings: the user namespace has other ids: 0 ${FIRST} 65536`));
    });
  });

  suite("without privileges", { needs: ["program:setpriv"] }, () => {
    type Said = { status: number | null; stdout: string; stderr: string };
    const sub = (): string => join(box.folder, "sub"); // in a mount namespace of its own the command sees these ids as nobody's
    beforeAll(() => writeFileSync(sub(), `nobody:${RANGE}:1000\n`));
    /** Commands of nobody on a bundle of nobody's; `then` are further ones while the container runs. */
    const asNobody = (script: string, change: ConfigChange, ...then: string[][]): Said => asNobodyWith(rootless ? `mount --bind ${sub()} /etc/subuid && mount --bind ${sub()} /etc/subgid` : "true", script, change, ...then);
    /** The same with a line of shell that prepares the mount namespace which the command has for itself. */
    const asNobodyWith = (before: string, script: string, change: ConfigChange, ...then: string[][]): Said => {
      const dir = box.make(script, (c) => {
        c.linux.namespaces.push({ type: "user" });
        c.linux["uidMappings"] = c.linux["gidMappings"] = maps(65534, 1);
        change(c);
      });
      chmodSync(box.folder, 0o711);
      const state = join(dir, "state");
      mkdirSync(state);
      for (const path of [dir, state, join(dir, "rootfs")]) chownSync(path, 65534, 65534);
      const command = (stdio: "pipe" | "ignore", ...args: string[]): Said => {
        const words = ["-m", "sh", "-c", `${before} && exec "$@"`, "sh", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        const { status, stdout, stderr } = spawnSync("unshare", [...words, BINARY, "oci", "--root", state, ...args], { encoding: "utf8", stdio: ["ignore", stdio, stdio], timeout: 120_000 });
        return { status, stdout, stderr };
      };
      try {
        if (then.length === 0) return command("pipe", "run", "--bundle", dir, "it");
        expect(command("ignore", "run", "--detach", "--bundle", dir, "it").status).toBe(0);
        let last: Said | undefined;
        for (const args of then) last = command("pipe", ...args);
        return last as Said;
      } finally {
        command("ignore", "delete", "--force", "it");
        chmodSync(box.folder, 0o700);
      }
    };

    it("runs further processes", () => {
      const more = ["exec", "it", "/bin/sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; cat /proc/1/comm; hostname"];
      expect(asNobody("exec sleep 1000", (c) => (c["hostname"] = "mine"), more)).toEqual(ok("0\n 0 65534 1\nsleep\nmine\n"));
      const host: ConfigChange = (c) => (c.linux.namespaces = c.linux.namespaces.filter((n) => n["type"] !== "network"));
      expect(asNobody("exec sleep 1000", host, ["exec", "it", "/bin/id", "-u"])).toEqual(ok("0\n"));
    });

    it("maps the caller alone, who gives up changing groups (CVE-2014-8989)", () => {
      expect(asNobody("id -u; cat /proc/self/setgroups /proc/self/uid_map | tr -s ' '; ls -d /dev/null", () => undefined)).toEqual(ok("0\ndeny\n 0 65534 1\n/dev/null\n"));
      expect(asNobody("true", (c) => (c.process["user"] = { uid: 0, gid: 0, additionalGids: [0] }))).toEqual(refused("process.user.additionalGids: groups cannot be changed"));
    });

    having(ranges)("maps more with the help of newuidmap and newgidmap", () => {
      const both = [...maps(65534, 1), { containerID: 1, hostID: RANGE, size: 1000 }];
      const change: ConfigChange = (c) => {
        c.linux["uidMappings"] = c.linux["gidMappings"] = both;
        c.process["user"] = { uid: 7, gid: 8, additionalGids: [9] };
      };
      expect(asNobody("id -u; id -G; cat /proc/self/uid_map | tr -s ' '", change)).toEqual(ok(`7\n8 9\n 0 65534 1\n 1 ${RANGE} 1000\n`));
      expect(asNobody("true", (c) => (c.linux["uidMappings"] = maps(0, 5)))).toEqual(refused("newuidmap"));
    });

    it("tells what newuidmap has said, which begins as from a shell: no signal blocked, the limits of who has called", () => {
      const program = join(box.folder, "newuidmap");
      const place = existsSync("/usr/bin/newuidmap") ? `mount --bind ${program} /usr/bin/newuidmap` : `mount -t tmpfs none /usr/local/bin && cp -p ${program} /usr/local/bin/newuidmap`;
      const more: ConfigChange = (c) => (c.linux["uidMappings"] = maps(RANGE, 5));
      for (const [mode, said] of [[0o755, /newuidmap \d+ 0 700000 5: exit status 3: SigBlk:\s0000000000000000 files: 777 \(see/], [0o644, /newuidmap \d+ 0 700000 5: exit status 127: cannot be executed: execve: EACCES/]] as const) {
        writeFileSync(program, "#!/bin/sh\necho $(grep SigBlk /proc/self/status) files: $(ulimit -Sn) >&2; exit 3\n");
        chmodSync(program, mode);
        expect(asNobodyWith(`ulimit -Sn 777 && ${place}`, "true", more)).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(said) as string });
      }
    });
  });
});

suite("a time namespace", { needs: ["agent", "user namespaces", "time namespaces"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());
  const uptime = (text: string): number => Number(text.split(" ")[0]);
  const offsets = (c: Config): void => {
    c.linux.namespaces.push({ type: "time" });
    c.linux["timeOffsets"] = { boottime: { secs: 1000000, nanosecs: 5 }, monotonic: { secs: 2000000 } };
  };

  it("has the offsets asked for, in further processes too, and leaves the engine's own clock", () => {
    const now = uptime(readFileSync("/proc/uptime", "utf8"));
    const { status, stdout } = box.run("cat /proc/uptime; cat /proc/self/timens_offsets | tr -s ' '", offsets);
    expect(status).toBe(0);
    const [first = "", ...lines] = stdout.split("\n");
    expect(uptime(first) - now).toBeGreaterThan(999990);
    expect(lines).toEqual(["monotonic 2000000 0", "boottime 1000000 5", ""]);
    const id = box.sleeper(offsets);
    expect(uptime(box.command(["exec", id, "cat", "/proc/uptime"]).stdout) - now).toBeGreaterThan(999990);
  });

  it("is new without offsets too, or of others", () => {
    const own = box.run("readlink /proc/self/ns/time", (c) => c.linux.namespaces.push({ type: "time" })).stdout;
    expect(own).toMatch(/^time:\[\d+\]\n$/);
    expect(own).not.toBe(`time:[${statSync("/proc/self/ns/time").ino}]\n`);
    const id = box.sleeper(offsets);
    const pid = JSON.parse(box.command(["state", id]).stdout).pid as number;
    const joined = box.run("readlink /proc/self/ns/time", (c) => c.linux.namespaces.push({ type: "time", path: `/proc/${pid}/ns/time` })).stdout;
    expect(joined).toBe(`time:[${statSync(`/proc/${pid}/ns/time`).ino}]\n`);
  });

  it("goes with a user namespace", () => {
    expect(box.run("cut -d. -f1 /proc/uptime; id -u", (c) => (offsets(c), mapped(c))).stdout).toMatch(/^1\d{6}\n0\n$/);
  });

  it("is refused with clocks that have no offset, and offsets without it", () => {
    const refused = (message: string): object => ({ status: 1, stdout: "", stderr: expect.stringContaining(message) as string });
    expect(box.run("true", (c) => (c.linux["timeOffsets"] = { boottime: { secs: 1 } }))).toEqual(refused("linux.timeOffsets: needs a new time namespace"));
    expect(box.run("true", (c) => (offsets(c), (c.linux["timeOffsets"] = { realtime: { secs: 1 } })))).toEqual(refused("realtime\"]: is no clock"));
    expect(box.run("true", (c) => (offsets(c), (c.linux["timeOffsets"] = { boottime: { secs: -100000000000 } })))).toEqual(refused("linux.timeOffsets"));
  });
});
