// What is mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)): the one reader of it.
import { parseBase, lines } from "./text.js";
import { readText } from "./fs.js";

export interface MountLine {
  /** What of its file system is seen: the path of a folder in it. */
  readonly root: string;
  /** Where. */
  readonly point: string;
  readonly fstype: string;
  readonly source: string;
  /** The file system's own options; a mount's own are others. */
  readonly options: readonly string[];
}

const LARGEST = 64 << 20; // 2^18 mounts of 256 bytes each: more than twice what the kernel allows (fs.mount-max)

/** Undoes the octal escapes (\040 for a space). */
export function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  const parts = text.split("\\");
  return parts.map((part, i) => {
    const code = i === 0 ? undefined : parseBase(part.slice(0, 3), 8);
    return code === undefined || part.length < 3 ? (i === 0 ? part : `\\${part}`) : String.fromCharCode(code) + part.slice(3);
  }).join("");
}

/** The mounts in a mountinfo text, oldest first. A line that is none is passed over. */
export function parseMountInfo(text: string): MountLine[] {
  const found: MountLine[] = [];
  for (const line of lines(text)) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "", point] = before.split(" ");
    const [fstype = "", source = "", options = ""] = after.split(" ");
    if (point !== undefined && fstype !== "") found.push({ root: unescapeOctal(root), point: unescapeOctal(point), fstype, source: unescapeOctal(source), options: options.split(",") });
  }
  return found;
}

/** The mounts of this mount namespace that lie under this process's root. Throws SysError (no procfs), AppError "exhausted" above 64 MiB of text. */
export function listMounts(): MountLine[] {
  return parseMountInfo(readText("/proc/self/mountinfo", LARGEST));
}

/** How many mounts lie on exactly this path. */
export function mountsOn(path: string): number {
  return listMounts().filter((m) => m.point === path).length;
}

/** The topmost mount on exactly this path (without a slash at its end). */
export function mountOn(path: string): MountLine | undefined {
  return listMounts().reverse().find((m) => m.point === path);
}
