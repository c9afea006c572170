// Images and volumes that somebody hostile has filled, and masks that a container with every right may touch: what the agent does in
// them stays in them, whatever their links, depth and files.
import { mkdirSync, readFileSync, rmdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { collectStream } from "../../ctl/client/stdio.js";
import { containerRequest } from "../helpers/guest.js";
import { Box } from "../helpers/engine-box.js";
import { longestCheck, Many } from "../helpers/many.js";
import { Bundles, sh, type ConfigChange } from "../helpers/oci-bundle.js";
import { failure } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";


suite("a hostile image or volume", { needs: ["agent"] }, () => {
  let box: Box;
  let bundles: Bundles;
  let many: Many;
  beforeAll(async () => {
    many = new Many();
    bundles = new Bundles();
    box = await Box.start();
  });
  afterAll(async () => {
    sh(`rm -rf ${bundles.folder}/bundle*`); // deeper than a path is long
    bundles.stop();
    await box.stop();
    many.stop();
  });
  const everyRight = (s: { process: { [key: string]: unknown } }): void => {
    const all = ["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE", "CAP_MKNOD", "CAP_SETFCAP"];
    s.process["capabilities"] = { bounding: all, effective: all, permitted: all };
  };
  const MASKED = "/proc/keys";

  it("does not change what masks files, its own or others'", async () => {
    const null0 = statSync("/dev/null");
    const look = `busybox stat -c '%a %u %Y %t:%T %d:%i' ${MASKED}`;
    const other = await box.create(["/bin/sh", "-c", `${look}; read x; ${look}`]);
    await box.start(other);
    const plain = await box.run(`busybox chmod 0 ${MASKED}; busybox chown 7:7 ${MASKED}; touch -d @1 ${MASKED}; echo gone > ${MASKED} && busybox stat -c '%a %u %t:%T' ${MASKED}`, everyRight);
    expect(plain.stderr.match(/Read-only file system/g)).toHaveLength(3);
    expect(plain.stdout).toBe("666 0 1:3\n");
    const script = `mount -o remount,bind,rw ${MASKED}; busybox chmod 600 ${MASKED}; busybox chown 7:7 ${MASKED}; touch -d @1 ${MASKED}; busybox stat -c '%a %u %Y %d:%i' ${MASKED} /dev/null`;
    const [mask = "", own = ""] = (await box.run(script, everyRight)).stdout.trim().split("\n");
    expect(mask).toMatch(/^600 7 1 /); // its own it may spoil
    expect(own).toMatch(/^666 0 /);
    await box.agent.client.writeStdin({ containerId: other, execId: other, data: Buffer.from("\n") });
    const [first, second] = (await collectStream(box.agent.client, { containerId: other, execId: other }, "stdout")).toString().trim().split("\n");
    expect(second).toBe(first);
    expect(first).toMatch(/^666 0 \d+ 1:3 /);
    expect(first?.split(" ").at(-1)).not.toBe(`${null0.dev}:${null0.ino}`);
    const now = statSync("/dev/null");
    expect([now.mode, now.uid, now.ctimeMs]).toEqual([null0.mode, null0.uid, null0.ctimeMs]);
    await box.remove(other);
  });

  it("leads the terminal nowhere by a link at /dev/console", async () => {
    const { client } = box.agent;
    for (const [what, prepare] of [["link", (dev: string) => symlinkSync("/etc/target", join(dev, "console"))], ["dangling link", (dev: string) => symlinkSync("/etc/not/there", join(dev, "console"))],
      ["folder", (dev: string) => mkdirSync(join(dev, "console"))], ["pipe", (dev: string) => sh(`mkfifo ${dev}/console`)]] as const) {
      const root = box.root();
      mkdirSync(join(root, "dev/pts"));
      writeFileSync(join(root, "etc/target"), "mine\n");
      prepare(join(root, "dev"));
      const id = `${box.prefix}console${what.split(" ")[0]}`;
      const script = "busybox stat -c %F /dev/console; cat /etc/target; ls /etc";
      const request = containerRequest({ id, rootPath: root, args: ["/bin/sh", "-c", script], terminal: true }) as { oci: { mounts: { destination: string }[] } };
      request.oci.mounts = request.oci.mounts.filter(({ destination }) => !destination.startsWith("/dev") || destination === "/dev/pts");
      await client.createContainer(request as never);
      await client.startContainer({ containerId: id });
      const said = (await collectStream(client, { containerId: id, execId: id }, "stdout")).toString();
      expect(said, what).toBe("character special file\r\nmine\r\ntarget\r\n");
      await box.remove(id);
      expect(readFileSync(join(root, "etc/target"), "utf8")).toBe("mine\n");
    }
  });

  it("has no devices and no terminal put where a link at /dev leads", async () => {
    const root = box.root();
    mkdirSync(join(root, "etc/elsewhere"));
    rmdirSync(join(root, "dev"));
    symlinkSync("/etc/elsewhere", join(root, "dev"));
    expect(await failure(box.create(["/bin/true"], (s) => {
      s.mounts = s.mounts.filter((m) => !(m["destination"] as string).startsWith("/dev"));
      s.linux["devices"] = [{ path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 0o666 }];
    }, root))).toContain("/dev must be an ordinary directory");
    expect(sh(`ls -A ${root}/etc/elsewhere`)).toBe("");
  });

  const copyUp: ConfigChange = (c) => c.mounts.push({ destination: "/deep", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "size=64m"] });

  it("is copied up however deep and wide, with few descriptors", () => {
    const bundle = bundles.make("n=0; while cd d* 2>/dev/null; do n=$((n+1)); done; echo $n; ls /deep/wide | wc -l; ulimit -n", (c) => {
      copyUp(c);
      c.process["cwd"] = "/deep/far";
      c.process["rlimits"] = [{ type: "RLIMIT_NOFILE", soft: 200, hard: 200 }];
    });
    sh(`cd ${bundle}/rootfs; mkdir -p deep/far deep/wide; cd deep/far; ${many.program} deep 12 255; cd ../wide; ${many.program} wide 5000; cd ..; mkdir comb; cd comb; ${many.program} deep 5000 100`);
    expect(bundles.command(["run", "--bundle", bundle, bundles.id()])).toEqual({ status: 0, stdout: "12\n5000\n200\n", stderr: "" });
  }, 240_000);

  it("is copied up with its links, pipes, devices, owners and holes, and nothing of it is opened", () => {
    const bundle = bundles.make("cd /deep; busybox stat -c '%n %F %a %u:%g %s %b' hole pipe sub sub/set; readlink out; cat hard two; busybox stat -c '%t:%T' dog", copyUp);
    sh(`mkdir -p ${bundle}/rootfs/deep/sub; cd ${bundle}/rootfs/deep; truncate -s 1T hole; mkfifo -m 600 pipe; ln -s /etc/passwd out; echo text > hard; ln hard two; mknod dog c 10 250; mkdir -m 2751 sub/set; chown 5:6 sub/set pipe; chmod 1777 sub`);
    expect(bundles.command(["run", "--bundle", bundle, bundles.id()])).toEqual({
      status: 0, stderr: "",
      stdout: `hole regular file 644 0:0 1099511627776 0\npipe fifo 600 5:6 0 0\nsub directory 1777 0:0 60 0\nsub/set directory 2751 5:6 40 0\n/etc/passwd\ntext\ntext\na:fa\n`,
    });
  });

  it("is given to a group however deep and wide", async () => {
    const { client } = box.agent;
    const volume = "/run/volume";
    box.agent.inside(`mkdir -p ${volume}/wide; cd ${volume}; ${many.program} deep 5000 255; cd wide; ${many.program} wide 5000`);
    const request = containerRequest({ id: `${box.prefix}group`, rootPath: box.root(), args: ["/bin/true"] });
    const created = client.createContainer({ ...request, storages: [{ driver: "local", mountPoint: volume, fsGroup: { groupId: 777, groupChangePolicy: 0 } }] } as never);
    await longestCheck(client, created);
    await created;
    expect(box.agent.inside(`find ${volume} ! -gid 777 -printf x | wc -c; find ${volume} -printf x | wc -c`)).toBe("0\n10002");
    await box.remove(`${box.prefix}group`);
    box.agent.inside(`rm -rf ${volume}`);
  }, 240_000);
});
