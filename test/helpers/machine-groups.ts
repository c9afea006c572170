// Control groups of the machine that a test has made, and somebody who lives in one.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";

/** What the paths of such groups begin with. */
export const TOP = `/kata-test-${process.pid}`;

/** Ours alone, by names with our number: others' come and go meanwhile, which find(1) complains about. */
export const groupsIn = (...paths: string[]): string[] => spawnSync("find", [...paths, "-type", "d"], { encoding: "utf8", maxBuffer: 1 << 28 }).stdout.split("\n")
  .filter((dir) => dir.includes(TOP) || dir.includes(`/oci${process.pid}n`));

/** Something that lives in a group of the machine. */
export function occupant(...files: string[]): ChildProcess {
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  for (const file of files) writeFileSync(file, String(child.pid));
  return child;
}

/** Ends it. */
export async function gone(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
}
