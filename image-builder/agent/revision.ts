// Owns the answer to "which sources is this binary made of": the version of package.json and the commit. The commit is the last one that
// changed what goes into the binary, so that the same sources have the same bytes whatever else was committed since.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.js";
import { run } from "../lib/run.js";

export interface Revision {
  readonly version: string;
  /** The commit's first 12 hex digits, with "-dirty" when something of it has been changed since; "unknown" outside a repository. */
  readonly commit: string;
}

/** What the bytes of the binary are made of, in the tree. */
const INPUTS = ["agent", "image-builder/agent", "image-builder/pins.json", "package.json", "package-lock.json"];
const DIGITS = 12;

/** A commit's whole name, shortened; undefined for what is none. */
const short = (text: string): string | undefined => (/^[0-9a-f]{40,64}$/.test(text.trim()) ? text.trim().slice(0, DIGITS) : undefined);

/** Reads both. `tools/commit` has the commit in an archive made by git-archive(1), see gitattributes(5) "export-subst". */
export async function revision(context: Context): Promise<Revision> {
  const { version } = JSON.parse(await readFile(join(context.root, "package.json"), "utf8")) as { readonly version: string };
  return { version, commit: (await fromGit(context)) ?? (await fromArchive(context.root)) ?? "unknown" };
}

async function fromGit(context: Context): Promise<string | undefined> {
  const git = (...args: string[]): Promise<string> => run("git", ["-C", context.root, ...args], { signal: context.signal, package: "git" });
  try {
    if ((await git("rev-parse", "--show-prefix")).trim() !== "") return undefined; // the tree lies in somebody else's repository
    const commit = short(await git("log", "-1", "--format=%H", "--", ...INPUTS));
    if (commit === undefined) return undefined;
    return commit + ((await git("status", "--porcelain", "--", ...INPUTS)).trim() === "" ? "" : "-dirty");
  } catch {
    context.signal?.throwIfAborted();
    return undefined; // no git, or no repository
  }
}

async function fromArchive(root: string): Promise<string | undefined> {
  return short(await readFile(join(root, "tools/commit"), "utf8").catch(() => ""));
}
