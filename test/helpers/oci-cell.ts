// A root of its own for hostile configurations: namespaces for mounts, processes, names and network, with only a busybox and the
// binary in it. What a configuration breaks is broken in there, and everything in it ends with its first process.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fillRootfs } from "./guest.js";
import { BINARY } from "./private-agent.js";

const NODES = [["null", 1, 3], ["zero", 1, 5], ["full", 1, 7], ["random", 1, 8], ["urandom", 1, 9], ["tty", 5, 0]];
const SCRIPT = `cd "$0"; mount --bind . . ; cd "$0"; mount -t proc proc proc; mount --rbind /sys sys; mount -t tmpfs tmpfs dev; mount -t tmpfs tmpfs run
${NODES.map(([name, major, minor]) => `mknod -m 666 dev/${name} c ${major} ${minor}`).join("; ")}
mkdir -p dev/pts dev/shm old; mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
pivot_root . old; exec /bin/busybox sh -c 'busybox umount -l /old; echo ready; exec busybox sleep 100000'`;

export class Cell {
  /** Part of every name that a configuration should make. */
  readonly tag = `cell${process.pid}`;
  readonly root: string;
  #n = 0;
  private constructor(readonly folder: string, private readonly child: ChildProcess, private readonly first: string) {
    this.root = join(folder, "root");
  }

  static async start(): Promise<Cell> {
    const folder = mkdtempSync(join(tmpdir(), "kata-cell-"));
    const root = join(folder, "root");
    fillRootfs(root);
    fillRootfs(join(root, "b/rootfs"));
    mkdirSync(join(root, "b/data"));
    copyFileSync(BINARY, join(root, "kata-oci"));
    const child = spawn("unshare", ["-m", "-u", "-i", "-n", "-p", "--fork", "--kill-child", "--propagation", "private", "sh", "-ec", SCRIPT, root], { stdio: ["ignore", "pipe", "inherit"] });
    const gone = once(child, "exit").then(() => "gone");
    if ((await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), gone])) === "gone") throw new Error("the cell cannot be made");
    return new Cell(folder, child, readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim());
  }

  id(): string {
    return `${this.tag}n${this.#n++}`;
  }
  /** Path of a file of the cell, from outside. */
  path(inside: string): string {
    return `/proc/${this.first}/root${inside}`;
  }
  /** The bundle's configuration. */
  config(text: string | Uint8Array): void {
    writeFileSync(join(this.root, "b/config.json"), text);
  }

  /** What exec is given with --process /b/process.json. */
  process(text: string): void {
    writeFileSync(join(this.root, "b/process.json"), text);
  }

  /** One command of the binary, or another program's of the cell; status -1: it did not end in time. A container may keep its streams, which are a file. */
  command(args: readonly string[], program = "/kata-oci"): { readonly status: number; readonly text: string } {
    const log = join(this.folder, "log");
    const fd = openSync(log, "w");
    const own = program === "/kata-oci" ? ["--root", "/run/s"] : [];
    const { status } = spawnSync("nsenter", ["-t", this.first, "-m", "-u", "-i", "-n", "-p", "-r", "-w", program, ...own, ...args], { stdio: ["ignore", fd, fd], timeout: 120_000, killSignal: "SIGKILL" });
    closeSync(fd);
    return { status: status ?? -1, text: readFileSync(log, "utf8") };
  }

  /** State folders, mounts, processes and cgroups that there are. */
  state(): { [what: string]: unknown } {
    const list = (path: string): string[] => {
      try {
        return readdirSync(path);
      } catch {
        return [];
      }
    };
    const alive = list(this.path("/proc")).filter((p) => {
      try {
        return Number(p) > 1 && !/^\d+ \(.*\) [ZX]/s.test(readFileSync(this.path(`/proc/${p}/stat`), "utf8"));
      } catch {
        return false;
      }
    });
    return {
      states: list(this.path("/run/s")), mounts: readFileSync(`/proc/${this.first}/mountinfo`, "utf8").trim().split("\n").length, processes: alive,
      cgroups: list("/sys/fs/cgroup").flatMap((h) => list(`/sys/fs/cgroup/${h}`).filter((name) => name.includes(this.tag)).map((name) => `${h}/${name}`)),
    };
  }

  async stop(): Promise<void> {
    const gone = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
