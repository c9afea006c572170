// podman (as Debian has it) runs containers through the command line, which it knows only by its path.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

const IMAGE = resolve("dist/sample-image");

interface Outcome { readonly status: number | null; readonly stdout: string; readonly stderr: string }

/** podman with storage and settings of its own; nothing of the machine's is touched. */
class Podman {
  readonly folder = mkdtempSync(join(tmpdir(), "kata-podman-"));
  readonly runtime = join(this.folder, "kata-oci");
  readonly #words: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  constructor() {
    symlinkSync(BINARY, this.runtime);
    const config = join(this.folder, "containers.conf");
    writeFileSync(config, '[containers]\ndefault_sysctls = []\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n');
    writeFileSync(join(this.folder, "policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}');
    const at = (name: string): string => join(this.folder, name);
    this.#words = ["--runtime", this.runtime, "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp"), "--events-backend", "file"];
    this.#env = { ...process.env, CONTAINERS_CONF: config };
  }
  words(args: readonly string[]): readonly string[] {
    return ["podman", ...this.#words, ...args];
  }
  /** `through` are words before it. */
  call(...args: readonly string[]): Outcome {
    const { status, stdout, stderr } = spawnSync("podman", [...this.#words, ...args], { encoding: "utf8", env: this.#env, timeout: 120_000, stdio: ["ignore", "pipe", "pipe"] });
    return { status, stdout: stdout.trim(), stderr: stderr.trim() };
  }
  /** The same from a terminal of 40 lines by 100 columns. */
  onTerminal(...args: readonly string[]): Outcome {
    const quoted = this.words(args).map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const { status, stdout, stderr } = spawnSync("script", ["-qec", `stty rows 40 cols 100; ${quoted}`, "/dev/null"], { encoding: "utf8", env: this.#env, timeout: 120_000, stdio: ["ignore", "pipe", "pipe"] });
    return { status, stdout: stdout.replaceAll("\r", "").replaceAll("\0", "").replaceAll("^@", "").trim(), stderr };
  }
  pull(): string {
    const { status, stdout, stderr } = this.call("pull", "--quiet", "--signature-policy", join(this.folder, "policy.json"), `oci:${IMAGE}`);
    if (status !== 0) throw new Error(stderr);
    return stdout.split("\n").at(-1) as string;
  }
  stop(): void {
    this.call("rm", "--all", "--force", "--time", "0");
    spawnSync("umount", [join(this.folder, "root/vfs")]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

suite("podman", { needs: ["agent", "program:podman", "program:conmon", "sample image"] }, () => {
  let podman: Podman;
  let image: string;
  beforeAll(() => {
    mkdirSync("/var/tmp", { recursive: true });
    podman = new Podman();
    image = podman.pull();
  });
  afterAll(() => podman?.stop());
  const run = (...args: readonly string[]): Outcome => podman.call("run", "--network", "none", ...args);
  const good = (outcome: Outcome): string => {
    expect(outcome).toMatchObject({ status: 0 });
    return outcome.stdout;
  };

  it("runs a program to its end and hands on how it ended", () => {
    expect(run("--rm", image, "echo", "hello")).toEqual({ status: 0, stdout: "hello", stderr: "" });
    expect(run("--rm", image, "sh", "-c", "exit 7").status).toBe(7);
    expect(run("--rm", image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?").status).toBe(137);
    expect(run("--rm", image, "nosuch").status).toBe(127); // by the words of our message
    expect(run("--rm", image, "/etc/passwd").status).toBe(126);
    expect(good(podman.call("ps", "--all", "--quiet"))).toBe("");
  });

  it("gives it what it asks for", () => {
    const script = "id -u; pwd; echo $A; cat /mnt/hostname; touch /x 2>/dev/null || echo read-only; cat /proc/self/oom_score_adj";
    const asked = ["--read-only", "--user", "nobody", "--memory", "64m", "--pids-limit", "50", "--env", "A=b", "--workdir", "/tmp", "--volume", "/etc/hostname:/mnt/hostname:ro", "--oom-score-adj", "100", "--cap-add", "net_admin", "--security-opt", "no-new-privileges"];
    const name = spawnSync("cat", ["/etc/hostname"], { encoding: "utf8" }).stdout.trim();
    expect(good(run("--rm", ...asked, image, "sh", "-c", script))).toBe(`65534\n/tmp\nb\n${name}\nread-only\n100`);
    const devices = good(podman.call("run", "--rm", "--network", "host", image, "cat", "/proc/net/dev"));
    expect(devices).toContain("lo:");
    expect(good(run("--rm", "--privileged", image, "grep", "CapBnd", "/proc/self/status"))).toBe(spawnSync("grep", ["CapBnd", "/proc/self/status"], { encoding: "utf8" }).stdout.trim());
  });

  it("leads one through exec, logs, stats, pause, top, update, stop, start, kill and rm", () => {
    const id = good(run("--detach", "--name", "one", image, "sh", "-c", "echo out; echo err >&2; trap 'exit 5' TERM; while :; do sleep 0.1; done"));
    expect(good(podman.call("exec", "one", "echo", "inside"))).toBe("inside");
    expect(podman.call("exec", "one", "sh", "-c", "exit 9").status).toBe(9);
    expect(podman.call("exec", "one", "nosuch").status).toBe(127);
    expect(good(podman.call("exec", "--detach", "one", "sh", "-c", "exec sleep 400"))).not.toBe("");
    expect(podman.onTerminal("exec", "-it", "one", "sh", "-c", "tty; stty size; echo done")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\n40 100\ndone$/) });
    expect(podman.call("logs", "one")).toMatchObject({ status: 0, stdout: "out", stderr: "err" });
    expect(JSON.parse(good(podman.call("stats", "--no-stream", "--format", "json", "one")))).toMatchObject([{ name: "one", pids: expect.stringMatching(/^[3-9]$/) }]);
    good(podman.call("pause", "one"));
    expect(good(podman.call("inspect", "--format", "{{.State.Status}}", "one"))).toBe("paused");
    good(podman.call("unpause", "one"));
    expect(good(podman.call("top", "one", "args"))).toContain("sleep 400");
    expect(good(podman.call("top", "one", "-o", "pid,comm"))).toContain("sleep");
    good(podman.call("stop", "--time", "20", "one"));
    expect(good(podman.call("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", id))).toBe("exited 5");
    good(podman.call("start", "one"));
    good(podman.call("kill", "one"));
    expect(good(podman.call("wait", "one"))).toBe("137");
    good(podman.call("rm", "one"));
    expect(good(podman.call("ps", "--all", "--quiet"))).toBe("");
  });

  it("gives a container its terminal", () => {
    expect(podman.onTerminal("run", "--name", "typed", "-it", "--network", "none", image, "sh", "-c", "tty; stty size; exit 3")).toMatchObject({ status: 3 });
    // podman's own end of it may leave before it has shown everything: what came out of the terminal is in the log
    expect(good(podman.call("logs", "typed")).replaceAll("\r", "").replaceAll("^@", "").trim()).toMatch(/^\/dev\/pts\/\d+\n40 100$/);
    good(podman.call("rm", "typed"));
  });
});
