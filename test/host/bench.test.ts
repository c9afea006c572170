// The bench measures what it says, with the bare C server in the agent's place, and leaves nothing behind.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Group, Key } from "../../bench/keys.js";
import { measureNative } from "../../bench/native-run.js";
import { nativeTools, type Tools } from "../../bench/native-tools.js";
import { BINARY } from "../helpers/private-agent.js";
import { having, suite } from "../helpers/suite.js";

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("kata-bench-")).sort();
const mounts = (): number => readFileSync("/proc/self/mountinfo", "utf8").split("\n").length;
const floors = (tools: Tools): string[] =>
  readdirSync("/proc").filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      return [tools.drive, tools["floor-server"], tools.spew, tools.sink].includes(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0] ?? "");
    } catch {
      return false; // it has ended in between
    }
  });

suite("the native part of the bench", { needs: ["root"] }, () => {
  let tools: Tools;
  let home: string;
  const failures: string[] = [];
  const measure = (groups: Group[], agent: string) =>
    measureNative({
      agent, tools, groups: new Set(groups), rounds: 2, runtimes: {}, progress: () => undefined,
      failed: (keys: readonly Key[], why) => void failures.push(`${keys.join(" ")}: ${why}`),
    });

  beforeAll(async () => {
    tools = await nativeTools();
    home = mkdtempSync(join(tmpdir(), "bench-test-"));
    writeFileSync(join(home, "agent"), `#!/bin/sh\nsocket=$(sed -n 's,.*unix://\\(.*\\)",\\1,p' "$2")\nexec ${tools["floor-server"]} $socket ${tools.spew} ${tools.sink}\n`, { mode: 0o755 });
  }, 240_000);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  it("gives every number of the groups asked for, and ends all it started", async () => {
    const before = { folders: folders(), mounts: mounts(), floors: floors(tools) };
    failures.length = 0;
    const results = await measure(["start", "run", "check", "stdout", "stdin", "memory"], join(home, "agent"));
    expect(failures).toEqual([]);
    expect(Object.keys(results).sort()).toEqual([
      "check_floor_us", "check_us", "container_anon_bytes", "run_ms", "run_ms_floor", "start_ms",
      "stdin_floor_mb_per_s", "stdin_mb_per_s", "stdout_floor_mb_per_s", "stdout_mb_per_s",
    ]);
    for (const [key, value] of Object.entries(results)) if (key !== "container_anon_bytes") expect(value, key).toBeGreaterThan(0);
    expect({ folders: folders(), mounts: mounts(), floors: floors(tools) }).toEqual(before);
  });

  having("agent")("measures the command line beside the agent, and why a peer cannot be", async () => {
    const before = { folders: folders(), mounts: mounts() };
    failures.length = 0;
    const results = await measureNative({
      agent: BINARY, tools, groups: new Set<Group>(["run", "exec"]), rounds: 2, runtimes: { oci: BINARY, crun: "/bin/false" }, progress: () => undefined,
      failed: (keys, why) => void failures.push(`${keys.join(" ")}: ${why}`),
    });
    expect(Object.keys(results).sort()).toEqual(["exec_ms", "oci_exec_ms", "oci_run_ms", "run_ms", "run_ms_floor"]);
    expect(failures.map((line) => line.split(":")[0])).toEqual(["oci_exec_ms_crun", "run_ms_crun"]);
    expect({ folders: folders(), mounts: mounts() }).toEqual(before);
  });

  it("tells why there is no number when the agent does not start", async () => {
    failures.length = 0;
    expect(await measure(["start", "check"], "/nonexistent/agent")).toEqual({});
    expect(failures.join("\n")).toMatch(/start_ms: .*No such file[^]*check_us.*No such file/);
  });

  it("passes on what the agent said when it dies", async () => {
    failures.length = 0;
    writeFileSync(join(home, "dying"), "#!/bin/sh\necho no luck today >&2\nexit 3\n", { mode: 0o755 });
    expect(await measure(["memory"], join(home, "dying"))).toEqual({});
    expect(failures.join("\n")).toMatch(/container_anon_bytes: .*no luck today/);
    expect(existsSync("/sys/fs/cgroup/kata-bench") || existsSync("/sys/fs/cgroup/unified/kata-bench")).toBe(false);
  });
});
