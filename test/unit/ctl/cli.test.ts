// The command line as a user meets it: what it says and how it ends when something is missing or wrong. No VM is started.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeAgent } from "../../helpers/fake-agent.js";
import { execa } from "execa";
import { tarball } from "../../helpers/tarball.js";
import { projectRoot } from "../../../tools/places.js";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "cli-"));
  mkdirSync(join(home, "tmp"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const katactl = (args: string[], env: NodeJS.ProcessEnv = {}): { status: number | null; stdout: string; stderr: string; left: string[] } => {
  const own = { ...process.env, KATACTL_STATE: join(home, "state"), KATA_CACHE: join(home, "cache"), TMPDIR: join(home, "tmp"), ...env };
  const { status, stdout, stderr } = spawnSync(join(projectRoot, "katactl"), args, { encoding: "utf8", env: own });
  return { status, stdout, stderr, left: readdirSync(join(home, "tmp")).filter((name) => name.startsWith("katactl")) };
};

const rootfs = async (): Promise<string> => {
  const file = join(home, "rootfs.tar");
  writeFileSync(file, await tarball([{ name: "bin/sh", data: "#!", mode: 0o755 }]));
  return file;
};

/** A PATH that has Node and little else. */
const barePath = (...programs: string[]): string => {
  const bin = join(home, "bin");
  mkdirSync(bin, { recursive: true });
  for (const name of ["node", "dirname", "readlink", "sh", ...programs]) symlinkSync(execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim(), join(bin, name));
  return bin;
};

describe("katactl", () => {
  it("has help for every command and refuses unknown words with status 125", () => {
    for (const command of ["run", "ctl"]) {
      const { status, stdout } = katactl([command, "--help"]);
      expect(status).toBe(0);
      expect(stdout).toMatch(new RegExp(`Usage: katactl ${command}`));
    }
    expect(katactl(["fly"])).toMatchObject({ status: 125, stderr: expect.stringMatching(/unknown command 'fly'/) as unknown });
    expect(katactl(["run", "x", "--memory", "much"]).status).toBe(125);
  });

  it("says that an image is missing or broken, and leaves nothing", () => {
    expect(katactl(["run", join(home, "none"), "--", "x"])).toEqual({ status: 125, stdout: "", stderr: `katactl: no image at ${join(home, "none")}\n`, left: [] });
    writeFileSync(join(home, "bad.tar"), "x".repeat(3000));
    expect(katactl(["run", join(home, "bad.tar")])).toMatchObject({ status: 125, stderr: expect.stringMatching(/damaged or no tar archive/) as unknown, left: [] });
  });

  it("says that QEMU is not installed, and leaves nothing", async () => {
    const result = katactl(["run", await rootfs(), "--", "x"], { PATH: barePath("sqfstar") });
    expect(result).toMatchObject({ status: 125, stderr: expect.stringMatching(/QEMU is not installed: .*Debian package qemu-system-x86/) as unknown, left: [] });
  });

  it("says which tool makes the disk when it is missing", async () => {
    expect(katactl(["run", await rootfs(), "--", "x"], { PATH: barePath() })).toMatchObject({ status: 125, stderr: expect.stringMatching(/sqfstar is not installed \(Debian package squashfs-tools\)/) as unknown, left: [] });
  });

  it("says which kernel, initrd or disk image is missing", async () => {
    const image = await rootfs();
    writeFileSync(join(home, "k"), "kernel");
    for (const [args, words] of [
      [["--kernel", "/no/kernel"], /no kernel at \/no\/kernel/],
      [["--kernel", join(home, "k"), "--initrd", "/no/initrd"], /no initrd at \/no\/initrd: make it with `make initrd`/],
      [["--kernel", join(home, "k"), "--image", "/no/image"], /no disk image at \/no\/image: make it with `make image`/],
    ] as const) expect(katactl(["run", ...args, image, "--", "x"])).toMatchObject({ status: 125, stderr: expect.stringMatching(words) as unknown, left: [] });
  });

  it("says so when a kernel is none, with QEMU's own words", async () => {
    writeFileSync(join(home, "k"), "this is no kernel");
    writeFileSync(join(home, "i"), "initrd");
    const result = katactl(["run", "--transport", "serial", "--kernel", join(home, "k"), "--initrd", join(home, "i"), "--timeout", "20", await rootfs(), "--", "x"], { KATA_ACCEL: "tcg" });
    expect(result.status).toBe(125);
    expect(result.stderr).toMatch(/the VM ended before its agent answered \(QEMU exit code 1\)\nQEMU said:\n.*\n.*logs: /s);
  });

  it("makes any call at an address and prints its answer", async () => {
    const agent = await fakeAgent((call) => (call.method === "Version" ? { grpcVersion: "0.0.1", agentVersion: "x" } : call.method === "ReadStdout" ? { data: Buffer.from("hi") } : { status: "SERVING" }));
    const run = (...args: string[]): Promise<{ exitCode?: number; stdout: string; stderr: string }> => execa(join(projectRoot, "katactl"), ["ctl", "--address", `unix://${agent.path}`, ...args], { reject: false });
    expect(JSON.parse((await run("version")).stdout)).toEqual({ grpcVersion: "0.0.1", agentVersion: "x" });
    expect(JSON.parse((await run("ReadStdout", '{"containerId":"c"}')).stdout)).toEqual({ data: "aGk=" });
    expect(await run("StartContainer", '{"id":1}')).toMatchObject({ exitCode: 125, stderr: "katactl: StartContainerRequest has no field id; it has: containerId" });
    await agent.close();
  });

  it("says that no VM is running", () => {
    expect(katactl(["exec", "ghost", "--", "ls"])).toMatchObject({ status: 125, stderr: "katactl: no VM 'ghost' is running; running: none\n" });
    expect(katactl(["stop", "ghost"])).toMatchObject({ status: 125 });
    expect(katactl(["ps"]).stdout).toMatch(/^NAME/);
    expect(katactl(["ctl", "Check"]).stderr).toMatch(/no VM is running: give --address/);
  });
});
