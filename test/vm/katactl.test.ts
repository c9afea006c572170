// The first thing a user does: an image, a command, its output and its exit status, through a real VM; and that nothing stays.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { makeSampleImage } from "../../tools/make-sample-image.js";
import { vmOver } from "../helpers/vm.js";
import { tarball, writeLayout } from "../helpers/tarball.js";
import { projectRoot } from "../../tools/places.js";
import { having, suite, when } from "../helpers/suite.js";

const KATACTL = join(projectRoot, "katactl");
/** An optional package: it is compiled when it is installed, which some machines cannot. */
const pty = await import("node-pty").catch(() => undefined);

let folder: string;
let image: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kc-"));
  image = join(folder, "image");
  env = { ...process.env, KATACTL_STATE: join(folder, "state"), TMPDIR: mkdtempSync(join(folder, "t-")) };
  await makeSampleImage(image);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** QEMU, daemons and temporary files of ours that are still there. */
const leftovers = (): string[] => {
  const own = env["TMPDIR"] ?? "";
  const commands = execFileSync("ps", ["axo", "args"], { encoding: "utf8" }).split("\n").filter((line) => line.includes(own) && /qemu|vhost-device|virtiofsd|socat/.test(line));
  return [...commands, ...readdirSync(own).filter((name) => !name.startsWith("tsx-")), ...(existsSync(join(folder, "state")) ? readdirSync(join(folder, "state")) : [])];
};

interface Result {
  exitCode?: number;
  stdout: string;
  stderr: string;
}
const katactl = (args: string[], input = ""): Promise<Result> => execa(KATACTL, args, { reject: false, env, input });
const run = (args: string[], input = ""): Promise<Result> => katactl(["run", "-q", image, ...args], input);

suite("katactl in a VM", { needs: [vmOver()] }, () => {
  afterEach(() => expect(leftovers()).toEqual([]));

  it("prints exactly what the container prints, on the right stream, and passes its exit status on", async () => {
    const result = await run(["--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    expect(result).toMatchObject({ exitCode: 7, stdout: "out", stderr: "err" });
  });

  it("says nothing of its own when all is well, and everything when it fails", async () => {
    expect(await katactl(["run", image, "--", "echo", "out"])).toMatchObject({ exitCode: 0, stdout: "out", stderr: "" });
    const failed = await katactl(["run", image, "--", "/no/such/program"]);
    expect(failed.exitCode).toBe(127);
    expect(failed.stderr).toMatch(/(microvm|q35) with (kvm|tcg)/);
    expect(failed.stderr).toContain("/no/such/program");
    const [, logs = ""] = /^katactl: logs: (.+)$/m.exec(failed.stderr) ?? [];
    expect(logs.startsWith(env["TMPDIR"] ?? "")).toBe(true);
    rmSync(logs, { recursive: true }); // kept for the user
  });

  it("goes on in the background with -d, where exec and stop find it, and keeps its output", async () => {
    const { stdout: name, exitCode } = await katactl(["run", "-d", image, "--", "sh", "-c", "echo begun; exec sleep 1000"]);
    expect(exitCode).toBe(0);
    try {
      expect(await katactl(["exec", name, "--", "echo", "inside"])).toMatchObject({ exitCode: 0, stdout: "inside" });
      expect(readFileSync(join(folder, "state", `${name}.log`), "utf8")).toContain("begun\n");
    } finally {
      expect((await katactl(["stop", name])).exitCode).toBe(0);
      rmSync(join(folder, "state", `${name}.log`), { force: true }); // the user's, from the beginning
    }
  });

  it("tells with -v the way it took and the times", async () => {
    const { stderr } = await katactl(["run", "-v", image, "--", "true"]);
    expect(stderr).toMatch(/(microvm|q35) with (kvm|tcg) \(.+\), (vhost-vsock|vhost-user-vsock|serial) \(.+\)/);
    expect(stderr).toMatch(/start of the VMM to first RPC \d+ ms, start of the kernel to first RPC \d+ ms/);
  });

  it.each(["agent.log=warn", "agent.log=error", "console=hvc0"])("needs no word of the agent on the console: %s", async (word) => {
    expect(await katactl(["run", "-q", "--append", word, image, "--", "echo", "up"])).toMatchObject({ exitCode: 0, stdout: "up" });
  });

  it("runs a bundle folder as it lies there, with the user's wishes over its config.json", async () => {
    const bundle = join(folder, "bundle");
    const odd = Buffer.concat([Buffer.from(join(bundle, "rootfs/odd-")), Buffer.from([0xff])]);
    mkdirSync(join(bundle, "rootfs/bin"), { recursive: true });
    writeFileSync(join(bundle, "rootfs/bin/busybox"), readFileSync("/bin/busybox"), { mode: 0o755 });
    for (const name of ["sh", "id", "ls", "cat", "od", "readlink", "ulimit"]) symlinkSync("busybox", join(bundle, "rootfs/bin", name));
    symlinkSync(Buffer.from([0x74, 0xfe]), odd);
    writeFileSync(join(bundle, "config.json"), `{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"args":["sh"],"cwd":"/","env":["PATH=/bin"],
      "rlimits":[{"type":"RLIMIT_FSIZE","hard":18446744073709551615,"soft":9007199254740993}]},
      "mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"}],
      "linux":{"namespaces":[{"type":"mount"},{"type":"ipc"},{"type":"uts"}]}}`);
    const { stdout, stderr } = await katactl(["run", "-q", "-u", "7:", "-m", "32m", "--cpus", "0.5", bundle, "--", "sh", "-c",
      "id -u; id -g; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max; readlink /odd-* | od -An -tx1; while read a b c d e f; do test $b$c = filesize && echo $d $e; done < /proc/self/limits"]);
    expect([stderr, ...stdout.split("\n").map((line) => line.trim())]).toEqual(["", "7", "0", "33554432", "50000 100000", "74 fe 0a", "9007199254740993 unlimited"]);
  });

  it("sends standard input to its end", async () => {
    expect((await katactl(["run", "-q", "-i", image, "--", "sh", "-c", "wc -c; echo done"], "x".repeat(100_000))).stdout).toBe("100000\ndone");
  });

  it("honours environment, folder, user and the container's view of itself", async () => {
    const { stdout } = await katactl(["run", "-q", "-e", "A=b c", "-w", "/tmp", "-u", "nobody", "--name", "box-1", image, "--", "sh", "-c", "echo $A; pwd; id -u; hostname; echo $$"]);
    expect(stdout.split("\n")).toEqual(["b c", "/tmp", "65534", "box-1", "1"]);
  });

  it("holds a memory limit", async () => {
    const { stdout } = await katactl(["run", "-q", "-m", "32m", image, "--", "cat", "/sys/fs/cgroup/memory.max"]);
    expect(stdout).toBe("33554432");
  });

  it("names a missing command and ends with 127", async () => {
    const result = await run(["--", "no-such-command"]);
    expect(result.exitCode).toBe(127);
    expect(result.stderr).toMatch(/no-such-command/);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(/logs: (\S+)/);
    rmSync(/logs: (\S+)/.exec(result.stderr)?.[1] ?? "", { recursive: true });
  });

  it("says 137 and 143 for killed processes", async () => {
    expect((await run(["--", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"])).exitCode).toBe(137);
    expect((await run(["--", "sh", "-c", "sh -c 'kill $$'; exit $?"])).exitCode).toBe(143);
  });

  it("applies whiteouts and writes only to the container's own layer", async () => {
    const layout = join(folder, "layered");
    const base = execFileSync("cat", ["/bin/busybox"], { maxBuffer: 1 << 26 });
    writeLayout(layout, [
      await tarball([{ name: "bin/busybox", data: base, mode: 0o755 }, { name: "bin/sh", type: "symlink", linkname: "busybox" }, { name: "bin/ls", type: "link", linkname: "bin/busybox" }, { name: "gone", data: "" }, { name: "d/old", data: "" }]),
      await tarball([{ name: ".wh.gone" }, { name: "d/.wh..wh..opq" }, { name: "d/new", data: "", mode: 0o4640, uid: 12, gid: 34 }]),
    ], { config: { Cmd: ["sh", "-c", "ls /d; ls -n /d/new | cut -c1-10; test -e /gone || echo no gone; echo x > /d/written && ls /d"] } });
    const { stdout } = await katactl(["run", "-q", layout]);
    expect(stdout.split("\n")).toEqual(["new", "-rwSr-----", "no gone", "new", "written"]);
  });

  having(when(pty !== undefined, "node-pty could not be compiled"))("gives a terminal of the right size that follows a resize", async () => {
    if (pty === undefined) return;
    const terminal = pty.spawn(KATACTL, ["run", "-q", "-i", "-t", image, "--", "sh"], { cols: 91, rows: 33, env: env as Record<string, string> });
    let screen = "";
    const ended = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)));
    const shown = (words: RegExp): Promise<void> => new Promise((resolve, reject) => {
      const look = (): void => {
        if (words.test(screen)) resolve();
      };
      terminal.onData(look);
      void ended.then(() => reject(new Error(`it ended without ${words.source}: ${screen}`)));
      look();
    });
    terminal.onData((data) => (screen += data));
    try {
      await shown(/# /);
      terminal.write("stty size; tty\r");
      await shown(/33 91\r\n\/dev\//);
      terminal.resize(120, 40);
      // The size travels by a call of its own; the shell asks until it is there.
      terminal.write('while [ "$(stty size)" != "40 120" ]; do :; done; echo re"sized"\r');
      await shown(/\nresized/);
      terminal.write("exit 9\r");
      expect(await ended).toBe(9);
    } finally {
      terminal.kill();
      await ended;
    }
  });

  it.each([
    ["while it boots", /katactl: (q35|microvm) with/, 130],
    ["while the container runs, which ignores it", /started/, 137],
  ])("leaves nothing after Ctrl-C %s", async (_when, moment, status) => {
    const child = spawn(KATACTL, ["run", "-v", image, "--", "sh", "-c", "echo started; while :; do sleep 100; done"], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    let said = "";
    await new Promise<void>((resolve, reject) => {
      const look = (data: Buffer): void => {
        said += data.toString();
        if (moment.test(said)) resolve();
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      child.once("close", () => reject(new Error(`it ended without ${moment.source}: ${said}`)));
    });
    process.kill(-(child.pid ?? 0), "SIGINT");
    expect(await ended).toBe(status);
  });

  it("leaves nothing after Ctrl-C although the guest does not answer any more", async () => {
    const child = spawn(KATACTL, ["run", "-q", "--name", "stuck", image, "--", "sh", "-c", "echo started; sleep 1000"], { env, stdio: ["ignore", "pipe", "inherit"], detached: true });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    await Promise.race([new Promise<void>((resolve) => child.stdout.once("data", () => resolve())), ended]);
    const record = JSON.parse(readFileSync(join(folder, "state", "stuck.json"), "utf8")) as { qemuPid: number };
    process.kill(record.qemuPid, "SIGSTOP");
    process.kill(-(child.pid ?? 0), "SIGINT");
    expect(await ended).toBe(130);
  });

  it("takes further processes by exec while it runs", async () => {
    writeFileSync(join(folder, "unused"), "");
    const child = execa(KATACTL, ["run", "-q", "-i", "--name", "long", image, "--", "sh", "-c", "echo up; cat; echo bye"], { env, reject: false });
    await Promise.race([new Promise<void>((resolve) => child.stdout?.once("data", () => resolve())), child.then((end) => expect(end.stderr).toBe("still running"))]);
    const inner = await katactl(["exec", "-e", "X=1", "long", "--", "sh", "-c", "echo $X; hostname; exit 5"]);
    expect(inner).toMatchObject({ exitCode: 5, stdout: "1\nlong" });
    expect((await katactl(["ps"])).stdout).toMatch(/^long +\d+ +long /m);
    expect(JSON.parse((await katactl(["ctl", "--vm", "long", "StatsContainer", '{"containerId":"long"}'])).stdout)).toHaveProperty("cgroupStats");
    expect((await katactl(["exec", "long", "--", "missing-program"])).exitCode).toBe(127);
    child.stdin?.end();
    expect(await child).toMatchObject({ exitCode: 0, stdout: "up\nbye" });
  });

  it("boots a VM in the background, lists it and stops it", async () => {
    const { stdout } = await katactl(["boot", "-q", "-d", "--name", "vm-1"]);
    expect(stdout).toMatch(/^vm-1 (hybrid|vsock|serial):/);
    expect(JSON.parse((await katactl(["ctl", "Check"])).stdout)).toEqual({ status: "SERVING" });
    expect((await katactl(["boot", "--name", "vm-1"])).stderr).toMatch(/a VM 'vm-1' is running already/);
    expect((await katactl(["stop", "vm-1"])).exitCode).toBe(0);
    expect((await katactl(["ps"])).stdout.split("\n")).toHaveLength(1);
  });
});
