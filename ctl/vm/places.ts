// Where running VMs have their files. It owns these paths and nothing in them; the tree, the build's results and the cache are in
// tools/places.ts.
import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

/** The folder that holds one file for each running VM: KATACTL_STATE, /run/katactl for root, else in the user's run folder. */
export const stateFolder = (): string => {
  const own = process.env["KATACTL_STATE"];
  const run = process.env["XDG_RUNTIME_DIR"];
  const folder = own || (process.getuid?.() === 0 ? "/run/katactl" : run ? join(run, "katactl") : join(homedir(), ".katactl"));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
};

/** A new private folder for one VM. Its path is short, because socket names hold 107 bytes. */
export const runFolder = (): string => {
  const base = tmpdir();
  return mkdtempSync(join(base.length > 60 ? "/tmp" : base, "katactl-"));
};

/** A file that is needed. Throws Error that says what it is for and how to get it. */
export const needed = (file: string, what: string, how: string): string => {
  if (!existsSync(file)) throw new Error(`no ${what} at ${file}: ${how}`);
  return file;
};
