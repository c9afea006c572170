// Bundles for the command line, spelled as changes to a small configuration; each command is a process of its own, as callers
// have it. What it made is removed by `stop`.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fillRootfs } from "./guest.js";
import { BINARY } from "./private-agent.js";
import { readable } from "./said.js";

type Json = Record<string, unknown>;
export type Config = Json & { process: Json; root: Json; mounts: Json[]; linux: Json & { namespaces: Json[] } };
export type ConfigChange = (config: Config) => void;

export interface Outcome { readonly status: number | null; readonly stdout: string; readonly stderr: string }

const CAPS = ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT", "CAP_NET_ADMIN"];

/** A configuration whose process is a shell with this script. */
export const plainConfig = (script: string): Config => ({
  ociVersion: "1.2.0",
  process: {
    terminal: false, user: { uid: 0, gid: 0 }, args: ["/bin/sh", "-c", script], env: ["PATH=/bin"], cwd: "/", noNewPrivileges: true,
    capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS },
  },
  root: { path: "rootfs", readonly: false },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
    { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666", "mode=0620"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
  ],
  linux: { namespaces: [{ type: "pid" }, { type: "mount" }, { type: "ipc" }, { type: "uts" }, { type: "network" }] },
});

/** A line of shell on this machine; what it printed. Throws what it said when it fails. */
export const sh = (script: string): string => {
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout.trim();
};

/** A folder of bundles and the state of their containers. */
export class Bundles {
  #n = 0;
  readonly #ids: string[] = [];
  readonly folder = mkdtempSync(join(tmpdir(), "kata-oci-"));
  readonly #state = join(this.folder, "state");

  readonly #words: readonly string[];

  /** `link`: it is called through a link, as by tools that only take a path; so it may be another runtime too. */
  constructor(readonly binary = BINARY, link = false) {
    fillRootfs(join(this.folder, "plain"));
    this.#words = link ? [join(this.folder, "kata-oci")] : [binary, "oci"];
    if (link) symlinkSync(binary, join(this.folder, "kata-oci"));
  }

  /** A bundle with a root of its own; its folder. */
  make(script: string, change: ConfigChange = () => undefined): string {
    const dir = join(this.folder, `bundle${this.#n++}`);
    mkdirSync(dir);
    cpSync(join(this.folder, "plain"), join(dir, "rootfs"), { recursive: true, verbatimSymlinks: true });
    const config = plainConfig(script);
    change(config);
    writeFileSync(join(dir, "config.json"), JSON.stringify(config));
    return dir;
  }

  /** A folder of the machine that no container may reach. */
  outside(): string {
    const dir = join(this.folder, `outside${this.#n++}`);
    mkdirSync(dir);
    return dir;
  }

  id(): string {
    const id = `oci${process.pid}n${this.#n++}`;
    this.#ids.push(id);
    return id;
  }

  /** All words of a command, for whoever starts it in another way. */
  words(args: readonly string[]): readonly string[] {
    return [...this.#words, "--root", this.#state, ...args];
  }

  /** One command, to its end; `through` are words before it ("taskset", "-c", "0"). */
  command(args: readonly string[], through: readonly string[] = []): Outcome {
    const [program = this.binary, ...rest] = [...through, ...this.#words, "--root", this.#state, ...args];
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
    return { status, stdout, stderr: readable(stderr) };
  }

  /** `run` of a shell script. */
  run(script: string, change?: ConfigChange, through: readonly string[] = []): Outcome {
    return this.command(["run", "--bundle", this.make(script, change), this.id()], through);
  }

  /** A container that sleeps; its id. Throws with what the command said. */
  sleeper(change?: ConfigChange, through: readonly string[] = []): string {
    const id = this.id();
    const bundle = this.make("sleep 1000", change);
    for (const args of [["create", "--bundle", bundle, id], ["start", id]]) {
      const { status, stderr } = this.quiet(args, through);
      if (status !== 0) throw new Error(stderr);
    }
    return id;
  }

  /** A command whose streams a container may keep: they lead nowhere but to a file for messages. */
  quiet(args: readonly string[], through: readonly string[] = []): Outcome {
    const log = join(this.folder, "log");
    rmSync(log, { force: true });
    const [program = this.binary, ...rest] = [...through, ...this.#words, "--root", this.#state, "--log", log, ...args];
    const { status } = spawnSync(program, rest, { stdio: "ignore", timeout: 120_000 });
    return { status, stdout: "", stderr: readable(spawnSync("cat", [log], { encoding: "utf8" }).stdout) };
  }

  /** Deletes all containers that there may be. */
  removeAll(): void {
    for (const id of this.#ids.splice(0)) this.quiet(["delete", "--force", id]);
  }

  stop(): void {
    this.removeAll();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
