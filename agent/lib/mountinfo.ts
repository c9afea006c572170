// What is mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)).
import { parseBase, lines } from "./text.js";
import { readText } from "./fs.js";

export interface MountLine { readonly point: string; readonly fstype: string; readonly source: string }

const LARGEST = 64 << 20;

/** Undoes the octal escapes (\040 for a space). */
export function unescapeOctal(text: string): string {
  const parts = text.split("\\");
  return parts.map((part, i) => {
    const code = i === 0 ? undefined : parseBase(part.slice(0, 3), 8);
    return code === undefined || part.length < 3 ? (i === 0 ? part : `\\${part}`) : String.fromCharCode(code) + part.slice(3);
  }).join("");
}

/** The mounts in a mountinfo text, oldest first. */
export function parseMountInfo(text: string): MountLine[] {
  const found: MountLine[] = [];
  for (const line of lines(text)) {
    const [before = "", after = ""] = line.split(" - ");
    const point = before.split(" ")[4];
    const [fstype, source = ""] = after.split(" ");
    if (point !== undefined && fstype !== undefined) found.push({ point: unescapeOctal(point), fstype, source: unescapeOctal(source) });
  }
  return found;
}

/** The mounts of this mount namespace. */
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
