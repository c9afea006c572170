// What a container may leave on this machine after its end: processes, cgroups, mounts, files. Only what carries the soak's own
// marks is looked at, since others may be at work here.
import { readFileSync, readdirSync, readlinkSync, rmdirSync, existsSync } from "node:fs";
import { join } from "node:path";

const numbers = (): string[] => readdirSync("/proc").filter((name) => /^\d+$/.test(name));
const text = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended in between
  }
};
const linkOf = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
};

/** When a process began, in ticks since the boot: with its number it is one process for all time. See proc_pid_stat(5), field 22. */
export const beginOf = (pid: number): string => text(`/proc/${pid}/stat`).split(") ")[1]?.split(" ")[19] ?? "";

/** Processes with `mark` in their command line or with a root or a directory below `folder`, and those of `known` (number to begin). */
export const processes = (mark: string, folder: string, known: ReadonlyMap<number, string> = new Map()): string[] =>
  numbers().filter((pid) => {
    if (Number(pid) === process.pid) return false;
    const begin = known.get(Number(pid));
    if (begin !== undefined && begin === beginOf(Number(pid))) return true;
    const places = [linkOf(`/proc/${pid}/root`), linkOf(`/proc/${pid}/cwd`)];
    return text(`/proc/${pid}/cmdline`).split("\0").includes(mark) || places.some((place) => place.startsWith(`${folder}/`));
  });

/** Paths of all cgroups whose name begins with `prefix`, parents before children. */
export const cgroups = (prefix: string): string[] => {
  const found: string[] = [];
  const visit = (dir: string, inside: boolean): void => {
    for (const entry of existsSync(dir) ? readdirSync(dir, { withFileTypes: true }) : []) {
      if (!entry.isDirectory()) continue;
      const mine = inside || entry.name.startsWith(prefix);
      if (mine) found.push(join(dir, entry.name));
      visit(join(dir, entry.name), mine);
    }
  };
  visit("/sys/fs/cgroup", false);
  return found;
};

/** Mounts of this process that show `folder`. */
export const mounts = (folder: string): string[] => text("/proc/self/mountinfo").split("\n").filter((line) => line.includes(folder));

/** After an interruption: ends the processes in cgroups of that prefix and removes these. */
export const sweep = (prefix: string): void => {
  const all = cgroups(prefix).reverse();
  const members = (): number[] => all.flatMap((dir) => text(join(dir, "cgroup.procs")).split("\n").filter(Boolean).map(Number));
  const end = Date.now() + 5000;
  for (let left = members(); left.length > 0 && Date.now() < end; left = members()) {
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it has ended already
      }
    }
  }
  for (const dir of all) rmdirSync(dir);
};
