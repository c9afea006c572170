// How the agent starts and ends as an ordinary process: closed standard streams, its command line, its socket.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectAgent } from "../../ctl/client/connect.js";
import { suite } from "../helpers/suite.js";

const BINARY = resolve(process.env["KATA_AGENT"] ?? "dist/kata-agent");

let dir: string;
let config: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "kata-start-"));
  config = join(dir, "agent.toml");
  writeFileSync(config, `server_addr = "unix://${dir}/a.sock"\n`);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

suite("kata-agent as a process", { needs: ["agent"] }, () => {
  it("keeps the numbers of standard streams that it was started without", async () => {
    const child = spawn("sh", ["-c", 'exec "$0" --config "$1" <&- >&- 2>&-', BINARY, config], { stdio: "ignore" });
    const client = await connectAgent(`unix://${dir}/a.sock`, { waitMs: 120_000 });
    try {
      expect((await client.check({})).status).toBe("SERVING");
      expect([0, 1, 2].map((n) => readlinkSync(`/proc/${child.pid}/fd/${n}`))).toEqual(["/dev/null", "/dev/null", "/dev/null"]);
    } finally {
      client.close();
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });

  // Without randomized addresses the heap begins right behind the bytecode, whose pages are dropped after they were read: once some
  // pages too many were, and one start in a thousand ended with SIGSEGV.
  it("keeps its heap where that is right behind its bytecode", async () => {
    mkdirSync(join(dir, "state"));
    const list = spawnSync("setarch", ["-R", BINARY, "oci", "--root", join(dir, "state"), "list", "--quiet"], { encoding: "utf8" });
    expect({ status: list.status, stderr: list.stderr }).toEqual({ status: 0, stderr: "" });
    const child = spawn("setarch", ["-R", BINARY, "--config", config], { stdio: "ignore" });
    const client = await connectAgent(`unix://${dir}/a.sock`, { waitMs: 120_000 });
    try {
      for (let i = 0; i < 3; i++) expect((await client.check({})).status).toBe("SERVING");
      expect((await client.version({})).agentVersion).not.toBe("");
    } finally {
      client.close();
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });

  it("ends with status 0 on SIGTERM and takes its socket away", async () => {
    const child = spawn(BINARY, ["--config", config], { stdio: "ignore" });
    const client = await connectAgent(`unix://${dir}/a.sock`, { waitMs: 120_000 });
    client.close();
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(existsSync(join(dir, "a.sock"))).toBe(false);
  });

  it("prints version and help, and refuses what it does not know", () => {
    expect(execFileSync(BINARY, ["--version"], { encoding: "utf8" })).toMatch(/^kata-agent version \S+ \(api version: 0\.0\.1, commit version: (?:[0-9a-f]{12}(?:-dirty)?|unknown), type: \S+, extra-features: \["seccomp"\]\)\n$/);
    expect(execFileSync(BINARY, ["--help"], { encoding: "utf8" })).toContain("agent.server_addr=");
    const bad = spawnSync(BINARY, ["--nonsense"], { encoding: "utf8" });
    expect([bad.status, bad.stderr]).toEqual([2, expect.stringContaining("--nonsense")]);
    expect(spawnSync(BINARY, ["--config"], { encoding: "utf8" }).status).toBe(2);
  });

  it.each([
    ["server_addr = 5\n", /server_addr: expected a string/],
    ["server_addr = \"tcp://127.0.0.1:1\"\n", /vsock:\/\/CID:PORT/],
    ["log_level = \"loud\"\n", /invalid log level "loud"/],
    ["this is no TOML\n", /line 1/],
  ])("names what is wrong in its file: %j", (text, reason) => {
    writeFileSync(config, text);
    const end = spawnSync(BINARY, ["--config", config], { encoding: "utf8", timeout: 120_000 });
    expect([end.status, end.stderr]).toEqual([1, expect.stringMatching(reason)]);
  });

  it("names a file that is not there, and an address that is taken", async () => {
    expect(spawnSync(BINARY, ["--config", join(dir, "none")], { encoding: "utf8" }).stderr).toMatch(/none: .*No such file or directory/);
    writeFileSync(join(dir, "a.sock"), "");
    expect(spawnSync(BINARY, ["--config", config], { encoding: "utf8" }).stderr).toMatch(/a\.sock: .*EADDRINUSE/);
  });
});
