// Owns agent/profiles.json: which modules are loaded by name on the usual ways through the agent, and how many bytes of bytecode each
// way may load. Modules that the same profiles load become one chunk; a profile that grows beyond its budget fails the build.
import { readFile } from "node:fs/promises";
import { BuildError } from "../lib/errors.js";

/** A module is named by its path below agent/, "layer/x.js". */
export interface Profile {
  readonly name: string;
  readonly loads: readonly string[];
  /** The most bytes of bytecode that it may load, where there is a budget. */
  readonly bytes: number | undefined;
}

interface Entry {
  readonly after?: string;
  readonly loads: readonly string[];
  readonly bytes?: number;
}

/** The profiles of the file in their order. Throws BuildError "config" when it is not as it should be. */
export async function readProfiles(path: string): Promise<Profile[]> {
  return parseProfiles(await readFile(path, "utf8"), path);
}

/** As readProfiles, from the file's text. */
export function parseProfiles(text: string, path: string): Profile[] {
  const refuse = (what: string): BuildError => new BuildError("config", `${path}: ${what}`, 'a profile is { "after": "PROFILE BEFORE IT", "loads": ["layer/module.js"], "bytes": BUDGET }');
  let entries: [string, Entry][];
  try {
    entries = Object.entries(JSON.parse(text) as Record<string, Entry>);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  const profiles: Profile[] = [];
  for (const [name, { after, loads, bytes, ...rest }] of entries) {
    const before = profiles.find((p) => p.name === after);
    if (after !== undefined && before === undefined) throw refuse(`${name} comes after ${after}, which is not there before it`);
    if (!Array.isArray(loads) || loads.some((module) => typeof module !== "string")) throw refuse(`${name} has no list "loads"`);
    if (bytes !== undefined && !(Number.isInteger(bytes) && bytes > 0)) throw refuse(`the bytes of ${name} are no number above 0`);
    if (Object.keys(rest).length > 0) throw refuse(`${name} has the unknown ${Object.keys(rest).join(", ")}`);
    profiles.push({ name, loads: [...(before?.loads ?? []), ...loads], bytes });
  }
  return profiles;
}

/**
 * Throws BuildError "config" when a profile loads more than it may. `sizes` are the bytes of each chunk, `loaded` the chunks of a
 * profile; `all` names those that a profile loads first, for whoever looks for what has grown.
 */
export function holdBudgets(profiles: readonly Profile[], loaded: ReadonlyMap<string, readonly string[]>, sizes: Readonly<Record<string, number>>): void {
  for (const { name, bytes } of profiles) {
    const chunks = loaded.get(name) ?? [];
    const total = bytesOf(chunks, sizes);
    if (bytes === undefined || total <= bytes) continue;
    const largest = [...chunks].sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0)).slice(0, 8);
    throw new BuildError("config", `the profile "${name}" loads ${total} bytes of bytecode, its budget is ${bytes}:\n  ${largest.map((c) => `${c} ${sizes[c]}`).join("\n  ")}`,
      "load what is rarely needed by lazy(...), name a module that it always needs in agent/profiles.json, or raise the budget there and say why");
  }
}

/** Bytes of bytecode of the chunks together. */
export function bytesOf(chunks: readonly string[], sizes: Readonly<Record<string, number>>): number {
  return chunks.reduce((sum, chunk) => sum + (sizes[chunk] ?? 0), 0);
}
