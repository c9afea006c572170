// Storages against a real kernel: the agent mounts loop devices, tmpfs, overlays and binds in a mount namespace of its own;
// the namespace's own tools say what is there, and what is still there after an error or at the end.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync, chmodSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { failure, startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { containerRequest, fillRootfs } from "../helpers/guest.js";
import { having, skip, suite } from "../helpers/suite.js";

const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
const BASE = "/run/kata-containers/sandbox";

suite("storages", { needs: ["agent"] }, () => {
  let agent: PrivateAgent;
  let work: string;
  const loops: string[] = [];

  const create = (...storages: object[]): Promise<unknown> => agent.client.call("CreateSandbox", { sandboxId: "s", storages } as never);
  const reset = (): Promise<unknown> => create();
  const shm = { driver: "ephemeral", source: "shm", fstype: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777", "size=4194304"], mountPoint: `${BASE}/shm` };
  /** Mount points of the agent below its folder. */
  const mounts = (): string[] => agent.inside("awk '$2 ~ /^.run.kata/ {print $2}' /proc/self/mounts").split("\n").filter((l) => l !== "");
  const loop = (file: string): string => {
    const node = run("losetup", "-f", "--show", file);
    loops.push(node);
    return node;
  };

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "kata-storage-"));
    agent = await startPrivateAgent("hotplug_timeout = { secs = 1, nanos = 0 }", "printf 'nameserver 9.9.9.9\\n' > /run/r && mount --bind /run/r /etc/resolv.conf");
  });
  afterEach(async () => {
    await reset();
    expect(mounts()).toEqual([]);
  });
  afterAll(async () => {
    await agent?.stop();
    for (const node of loops) run("losetup", "-d", node);
    rmSync(work, { recursive: true, force: true });
  });

  it("honours size, mode and flags of a tmpfs, and gives it back with the sandbox", async () => {
    await create(shm);
    expect(agent.inside(`grep ' ${BASE}/shm ' /proc/self/mounts`)).toMatch(/^shm .*tmpfs rw,nosuid,nodev,noexec.*size=4096k/);
    expect(agent.inside(`stat -c %a ${BASE}/shm`)).toBe("1777");
    await reset();
    expect(agent.inside(`ls ${BASE} 2>/dev/null || true`)).toBe("");
  });

  it("gives a tmpfs or a local folder to a group", async () => {
    await create(
      { ...shm, options: ["fsgid=4321"] },
      { driver: "local", source: "local", fstype: "local", options: ["mode=0750", "fsgid=1234"], mountPoint: `${BASE}/vol` },
    );
    expect(agent.inside(`stat -c '%g %a' ${BASE}/shm`)).toBe("4321 3777");
    expect(agent.inside(`stat -c '%g %a' ${BASE}/vol`)).toBe("1234 2750");
  });

  it("resizes an ephemeral mount, and no other kind", async () => {
    await create(shm);
    await agent.client.call("UpdateEphemeralMounts", { storages: [{ ...shm, options: ["remount", "size=8388608"] }] } as never);
    expect(agent.inside(`grep ' ${BASE}/shm ' /proc/self/mounts`)).toContain("size=8192k");
    expect(mounts()).toHaveLength(1);
    await agent.client.call("UpdateEphemeralMounts", {});
    expect(await failure(agent.client.call("UpdateEphemeralMounts", { storages: [{ ...shm, driver: "blk" }] } as never))).toContain("Unsupported storage type for syncing mounts blk");
  });

  it("registers nothing for an unknown driver", async () => {
    expect(await failure(create({ ...shm, driver: "nope" }))).toContain("Failed to find the storage handler nope");
    await create(shm);
    expect(mounts()).toEqual([`${BASE}/shm`]);
  });

  it("undoes what came before a storage that fails, and names it", async () => {
    const missing = { driver: "blk", source: "/dev/not-there", fstype: "ext4", options: [], mountPoint: `${BASE}/disk` };
    expect(await failure(create(shm, missing))).toMatch(/storage \/dev\/not-there for .*disk: Timeout after 1s waiting for uevent: block device \/dev\/not-there/);
    expect(mounts()).toEqual([]);
    expect(await failure(create(shm, { ...missing, source: "02/03" }))).toMatch(/Timeout after 1s .*block device at PCI path 02\/03/);
    expect(await failure(create({ ...missing, source: "/dev/null" }))).toContain("Invalid device /dev/null");
    expect(agent.inside(`ls ${BASE} 2>/dev/null || true`)).toBe("");
  });

  it.each([
    [{ source: "" }, "need mount source"],
    [{ fstype: "" }, "need mount FS type"],
    [{ mountPoint: "" }, "has no mount point"],
    [{ options: ["size=nonsense"] }, `mount shm (tmpfs) on ${BASE}/shm: `],
    [{ fstype: "nofs" }, `mount shm (nofs) on ${BASE}/shm: helper: mount: ENODEV`],
    [{ options: ["loop"] }, "mount option loop is not supported"],
    [{ options: ["fsgid=x"] }, 'invalid fsgid "x"'],
  ])("refuses %j", async (fields, text) => {
    expect(await failure(create({ ...shm, ...fields }))).toContain(text);
    expect(mounts()).toEqual([]);
  });

  describe("disks", () => {
    let tree: string;
    let images: Record<string, string>;
    beforeAll(() => {
      tree = join(work, "tree");
      mkdirSync(join(tree, "dir"), { recursive: true });
      writeFileSync(join(tree, "dir/file"), "hello\n");
      chmodSync(join(tree, "dir/file"), 0o600);
      symlinkSync("/etc", join(tree, "out"));
      images = Object.fromEntries(["ext4", "erofs", "squashfs"].map((t) => [t, join(work, `${t}.img`)]));
      writeFileSync(images["ext4"] as string, Buffer.alloc(8 << 20));
      run("mkfs.ext4", "-q", "-d", tree, images["ext4"] as string);
      run("mkfs.erofs", images["erofs"] as string, tree);
      run("mksquashfs", tree, images["squashfs"] as string, "-quiet", "-no-progress");
    });

    it.each(["ext4", "erofs", "squashfs"])("mounts %s, once for two users, and unmounts it", async (fstype) => {
      const disk = { driver: "blk", source: loop(images[fstype] as string), fstype, options: ["ro"], mountPoint: `${BASE}/disk` };
      await create(disk, disk);
      expect(mounts()).toEqual([`${BASE}/disk`]);
      expect(agent.inside(`cat ${BASE}/disk/dir/file`)).toBe("hello");
      await reset();
      expect(mounts()).toEqual([]);
      expect(agent.inside(`ls -d ${BASE}/disk 2>/dev/null || echo gone`)).toBe("gone");
    });

    it("gives a volume to a group without leaving it through a link", async () => {
      const before = agent.inside("stat -c '%g %a' /etc /etc/passwd");
      const disk = { driver: "blk", source: loop(images["ext4"] as string), fstype: "ext4", options: [], mountPoint: `${BASE}/disk`, fsGroup: { groupId: 777, groupChangePolicy: 0 } };
      await create(disk);
      expect(agent.inside(`stat -c '%g %a' ${BASE}/disk/dir ${BASE}/disk/dir/file`)).toBe("777 2775\n777 660");
      expect(agent.inside("stat -c '%g %a' /etc /etc/passwd")).toBe(before);
    });

    it("leaves a volume alone whose root fits already, if that is the policy", async () => {
      const disk = { driver: "blk", source: loop(images["ext4"] as string), fstype: "ext4", options: [], mountPoint: `${BASE}/disk` };
      await create({ ...disk, fsGroup: { groupId: 778, groupChangePolicy: 0 } });
      agent.inside(`chgrp 5 ${BASE}/disk/dir/file`);
      await create({ ...disk, fsGroup: { groupId: 778, groupChangePolicy: 1 } });
      expect(agent.inside(`stat -c %g ${BASE}/disk/dir/file`)).toBe("5");
    });

    it("tells how full a volume is", async () => {
      await create({ driver: "blk", source: loop(images["ext4"] as string), fstype: "ext4", options: [], mountPoint: `${BASE}/disk` });
      const { usage } = (await agent.client.call("GetVolumeStats", { volumeGuestPath: `${BASE}/disk` } as never)) as unknown as { usage: { total: number; used: number; available: number; unit: string }[] };
      expect(usage.map((u) => u.unit)).toEqual(["BYTES", "INODES"]);
      for (const u of usage) expect(Number(u.total)).toBe(Number(u.used) + Number(u.available));
      expect(Number(usage[0]?.total)).toBeGreaterThan(4 << 20);
      expect(await failure(agent.client.call("GetVolumeStats", { volumeGuestPath: "/nope" } as never))).toContain("ENOENT");
    });

    it("says why a disk cannot be mounted, and leaves no folder", async () => {
      const file = join(work, "empty.img");
      writeFileSync(file, Buffer.alloc(1 << 20));
      const node = loop(file);
      expect(await failure(create({ driver: "blk", source: node, fstype: "ext4", options: [], mountPoint: `${BASE}/disk` }))).toMatch(new RegExp(`mount ${node} \\(ext4\\) on .*/disk: .*mount: EINVAL`));
      expect(agent.inside(`ls -d ${BASE}/disk 2>/dev/null || echo gone`)).toBe("gone");
    });

    it("makes an overlay from read-only layers, a writable one for a container, and takes both away", async () => {
      const source = loop(images["erofs"] as string);
      const root = "/run/kata-containers/c1/rootfs";
      fillRootfs(join(work, "root"));
      await create(shm);
      const request = containerRequest({ id: "c1", rootPath: root, args: ["/bin/true"] }) as { storages?: object[] };
      const lower = { driver: "blk", source, fstype: "erofs", options: ["ro"], mountPoint: `${BASE}/layer` };
      const merged = {
        driver: "overlayfs", source: "none", fstype: "overlay", mountPoint: root, options: ["io.katacontainers.fs-opt.overlay-rw", `lowerdir=${join(work, "root")}:${BASE}/layer`],
      };
      await agent.client.call("CreateContainer", { ...request, storages: [lower, merged] } as never);
      try {
        expect(agent.inside(`cat ${root}/dir/file; ls ${root}/bin/sh`)).toBe(`hello\n${root}/bin/sh`);
        agent.inside(`echo new > ${root}/new`);
        expect(agent.inside("cat /run/kata-containers/c1/upper/new")).toBe("new");
        expect(agent.inside(`stat -c %a ${root}`)).toBe(agent.inside(`stat -c %a ${join(work, "root")}`));
      } finally {
        await agent.client.call("RemoveContainer", { containerId: "c1" } as never);
      }
      expect(mounts()).toEqual([`${BASE}/shm`]);
      expect(agent.inside("ls /run/kata-containers/c1 2>/dev/null || echo gone")).toBe("gone");
    });
  });

  it("takes an overlay with more layers than fit a page of options", async () => {
    const layers: string[] = [];
    for (let i = 0; i < 40; i++) {
      const dir = join(work, `layer-${"x".repeat(100)}-${i}`);
      mkdirSync(dir);
      writeFileSync(join(dir, `f${i}`), "");
      layers.push(dir);
    }
    await create({ driver: "overlayfs", source: "none", fstype: "overlay", options: [`lowerdir=${layers.join(":")}`], mountPoint: `${BASE}/many` });
    expect(agent.inside(`ls ${BASE}/many | wc -l`)).toBe("40");
  });

  it("binds folders and files, read-only when asked", async () => {
    writeFileSync(join(work, "one"), "1");
    const bind = { driver: "bind", fstype: "bind", options: ["bind", "ro"] };
    await create({ ...bind, source: join(work, "one"), mountPoint: `${BASE}/file` }, { ...bind, source: work, mountPoint: `${BASE}/folder` });
    expect(agent.inside(`cat ${BASE}/file ${BASE}/folder/one`)).toBe("11");
    expect(() => agent.inside(`touch ${BASE}/folder/new`)).toThrow(/Read-only/);
    await reset();
    expect(agent.inside(`ls ${BASE} 2>/dev/null || true`)).toBe("");
  });

  it("puts the sandbox's name servers in place and takes them away", async () => {
    await agent.client.call("CreateSandbox", { sandboxId: "s", dns: ["nameserver 1.2.3.4 ", "search example.org"] });
    expect(agent.inside("cat /etc/resolv.conf")).toBe("nameserver 1.2.3.4\nsearch example.org");
    await reset();
    expect(agent.inside("cat /etc/resolv.conf")).toBe("nameserver 9.9.9.9");
  });

  it("takes a mount point with a slash at its end, and hands out the share only once", async () => {
    const share = { driver: "bind", source: work, fstype: "bind", options: [], mountPoint: "/run/kata-containers/shared/containers/" };
    await create(share);
    expect(mounts()).toEqual(["/run/kata-containers/shared/containers"]);
    await agent.client.call("RemoveStaleVirtiofsShareMounts", {});
  });

  describe("of several containers", () => {
    const disk = (fields: object = {}): object => ({ driver: "bind", source: join(work, "volume"), fstype: "bind", options: ["ro"], mountPoint: `${BASE}/volume`, ...fields });
    const make = (id: string, ...storages: object[]): Promise<unknown> =>
      agent.client.call("CreateContainer", { ...containerRequest({ id, rootPath: join(work, "root3"), args: ["/bin/true"] }), storages } as never);
    const remove = (id: string): Promise<unknown> => agent.client.call("RemoveContainer", { containerId: id } as never);
    beforeAll(() => {
      fillRootfs(join(work, "root3"));
      mkdirSync(join(work, "volume"));
    });

    it("are mounted once and go with the last, also when all ask at the same time", async () => {
      await create(shm);
      const ids = ["s1", "s2", "s3", "s4"];
      await Promise.all(ids.map((id) => make(id, disk())));
      expect(mounts().filter((m) => m.endsWith("volume"))).toHaveLength(1);
      for (const id of ids) {
        expect(mounts()).toContain(`${BASE}/volume`);
        await remove(id);
      }
      expect(mounts()).toEqual([`${BASE}/shm`]);
    });

    it("stay until the sandbox ends when they are shared, and memory volumes always", async () => {
      await create(shm);
      await make("t1", disk({ shared: true }), { ...shm, mountPoint: `${BASE}/ephemeral/cache` });
      await remove("t1");
      expect(mounts()).toEqual([`${BASE}/shm`, `${BASE}/volume`, `${BASE}/ephemeral/cache`]);
    });

    it("fail for all who waited for the one that failed, and leave the name free", async () => {
      await create(shm);
      const bad = disk({ source: join(work, "missing") });
      const texts = await Promise.all([failure(make("u1", bad)), failure(make("u2", bad))]);
      for (const text of texts) expect(text).toContain("ENOENT");
      await make("u1", disk());
      await remove("u1");
      expect(mounts()).toEqual([`${BASE}/shm`]);
    });

    it("are taken away when a later step of the creation fails", async () => {
      await create(shm);
      const request = { ...containerRequest({ id: "v1", rootPath: join(work, "no-root"), args: ["/bin/true"] }), storages: [disk()] };
      expect(await failure(agent.client.call("CreateContainer", request as never))).toContain("no-root");
      expect(mounts()).toEqual([`${BASE}/shm`]);
    });
  });

  it("mounts a watched folder that is too large to be copied", async () => {
    await create(shm);
    const source = join(work, "large");
    mkdirSync(source);
    for (let i = 0; i < 20; i++) writeFileSync(join(source, `f${i}`), "x");
    fillRootfs(join(work, "root4"));
    const target = "/run/kata-containers/shared/containers/watchable/w-large";
    await agent.client.call("CreateContainer", {
      ...containerRequest({ id: "w1", rootPath: join(work, "root4"), args: ["/bin/true"] }), storages: [{ driver: "watchable-bind", source, fstype: "bind", options: [], mountPoint: target }],
    } as never);
    expect(mounts()).toContain(target);
    writeFileSync(join(source, "late"), "now");
    expect(agent.inside(`cat ${target}/late`)).toBe("now");
    await agent.client.call("RemoveContainer", { containerId: "w1" } as never);
    expect(agent.inside(`ls -d ${target} 2>/dev/null || echo gone`)).toBe("gone");
    expect(agent.inside(`ls ${source} | wc -l`)).toBe("21");
  });

  it("copies and follows a watched folder", async () => {
    await create(shm);
    const source = join(work, "config");
    mkdirSync(join(source, "..v1"), { recursive: true });
    writeFileSync(join(source, "..v1/key"), "one");
    symlinkSync("..v1", join(source, "..data"));
    symlinkSync("..data/key", join(source, "key"));
    fillRootfs(join(work, "root2"));
    const target = "/run/kata-containers/shared/containers/watchable/c2-config";
    const storage = { driver: "watchable-bind", source, fstype: "bind", options: [], mountPoint: target };
    await agent.client.call("CreateContainer", { ...containerRequest({ id: "c2", rootPath: join(work, "root2"), args: ["/bin/true"] }), storages: [storage] } as never);
    try {
      expect(agent.inside(`cat ${target}/key`)).toBe("one");
      mkdirSync(join(source, "..v2"));
      writeFileSync(join(source, "..v2/key"), "two");
      run("ln", "-sfn", "..v2", join(source, "..data"));
      rmSync(join(source, "..v1"), { recursive: true });
      await expect.poll(() => agent.inside(`cat ${target}/key; ls -A ${target} | tr '\\n' ' '`), { timeout: 120_000 }).toBe("two..data ..v2 key");
    } finally {
      await agent.client.call("RemoveContainer", { containerId: "c2" } as never);
    }
    expect(agent.inside(`ls -d ${target} 2>/dev/null || echo gone`)).toBe("gone");
  });

  it("answers the calls of every run at once when there is nothing to do", async () => {
    await agent.client.call("OnlineCPUMem", {});
    await agent.client.call("OnlineCPUMem", { nbCpus: 1, cpuOnly: true });
    await agent.client.call("MemHotplugByProbe", {});
    await agent.client.call("RemoveStaleVirtiofsShareMounts", {});
    const details = (await agent.client.call("GetGuestDetails", { memBlockSize: true, memHotplugProbe: true } as never)) as unknown as { agentDetails: { storageHandlers: string[]; supportsSeccomp: boolean } };
    expect(details.agentDetails.supportsSeccomp).toBe(true);
    expect(details.agentDetails.storageHandlers).toEqual(expect.arrayContaining(["blk", "scsi", "virtio-fs", "9p", "overlayfs", "ephemeral", "local"]));
  });

  having("fuse")("answers other calls while a host's file system does not answer", async (context) => {
    // a fuse file system whose server never reads its requests
    const server = spawn("nsenter", ["-t", String(agent.pid), "-m", "sh", "-ec", "mkdir /run/hung; exec 3<>/dev/fuse; mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hung /run/hung; echo ready; exec sleep 100"], { stdio: ["ignore", "pipe", "pipe"] });
    const gone = once(server, "exit");
    try {
      const first = await Promise.race([once(server.stdout, "data").then(String), gone.then(() => "this machine has no fuse")]);
      if (first.trim() !== "ready") skip(context, first);
      const outcome = failure(create({ driver: "bind", source: "/run/hung/volume", fstype: "bind", options: [], mountPoint: `${BASE}/hung` }));
      const stats = failure(agent.client.call("GetVolumeStats", { volumeGuestPath: "/run/hung" } as never));
      for (let i = 0; i < 20; i++) await agent.client.call("Check", {}, { timeoutMs: 1000 });
      server.kill("SIGKILL"); // the kernel ends what waits for it
      await gone;
      expect(await outcome).toMatch(/mount \/run\/hung\/volume \(bind\) on .*: E(NOTCONN|CONNABORTED)/);
      expect(await stats).toMatch(/E(NOTCONN|CONNABORTED)/);
    } finally {
      server.kill("SIGKILL");
      agent.inside("umount -l /run/hung 2>/dev/null; rmdir /run/hung");
    }
  });

  it("says why there is no swap", async () => {
    expect(await failure(agent.client.call("AddSwap", {}))).toContain("PCI path must have at least one element");
    expect(await failure(agent.client.call("AddSwap", { pciPath: [32] } as never))).toContain("PCI slot 32 is larger than 31");
    expect(await failure(agent.client.call("AddSwapPath", { path: "/nope" } as never))).toContain("swap on /nope: swapon: ENOENT");
  });

  it("mixes random bytes in, and refuses none", async () => {
    expect(await failure(agent.client.call("ReseedRandomDev", {}))).toContain("missing entropy data");
    await agent.client.call("ReseedRandomDev", { data: Buffer.alloc(64, 7) });
  });
});
