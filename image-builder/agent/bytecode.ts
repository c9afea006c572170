// Owns the way from the bundler's chunks to one C file of bytecode, by QuickJS's qjsc. Reading and changing its text is pure, so that
// it can be tested without a compiler.
import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import { run } from "../lib/run.js";
import { SECTION } from "./compiler.js";
import { pack } from "./pack.js";

export interface Chunk {
  /** Path below the build's folder. */
  readonly file: string;
  readonly text: string;
}

export interface Flat {
  /** Name without folders: the loader looks chunks up by it, and it keeps qjsc's C names unique. */
  readonly name: string;
  readonly text: string;
}

/** Bytes of bytecode by the chunk's flat name. */
export type Sizes = Readonly<Record<string, number>>;

/** The name that `lib/lazy.ts` of the agent asks the loader for. */
export const flatName = (file: string): string => file.replaceAll("/", "__");

/** The chunks with flat names, in their imports too, and the names that others import. */
export function flatten(chunks: readonly Chunk[]): { readonly flat: readonly Flat[]; readonly imported: ReadonlySet<string> } {
  const imported = new Set<string>();
  const flat = chunks.map(({ file, text }) => ({
    name: flatName(file),
    text: text.replace(/(from|import)\s*"(\.{1,2}\/[^"]+)"/g, (_all, word: string, path: string) => {
      const other = flatName(relative("/", resolve("/", dirname(file), path)));
      imported.add(other);
      return `${word}"./${other}"`;
    }),
  }));
  return { flat, imported };
}

/**
 * qjsc's C text with a section for the arrays, which become texts (the compiler reads those six times as fast), and the table `chunks`
 * of agent/native/native.h behind them, and the size of each. `packed` are kept packed. Throws BuildError when it holds no bytecode for one of the names, or
 * arrays in a form that is not known.
 */
export function withTable(text: string, names: readonly string[], packed: ReadonlySet<string> = new Set()): { readonly text: string; readonly sizes: Sizes } {
  const sizes: Record<string, number> = {};
  const symbols = new Map(names.map((name) => [name, `qjsc_${name.replace(/\.js$/, "").replace(/[^A-Za-z0-9]/g, "_")}`]));
  if (new Set(symbols.values()).size !== names.length) throw new BuildError("failed", "two chunks have the same name in C");
  for (const [name, symbol] of symbols) {
    const size = new RegExp(`^const uint32_t ${symbol}_size = (\\d+);`, "m").exec(text)?.[1];
    if (size === undefined) throw new BuildError("failed", `qjsc made no bytecode for ${name}`);
    sizes[name] = Number(size);
  }
  const small = new Map<string, number>();
  const toPack = new Set([...packed].map((name) => symbols.get(name)));
  let arrays = 0;
  const placed = text.replace(/^const uint8_t (qjsc_\w+)\[(\d+)\] = \{([^}]*)\};$/gm, (_all, symbol: string, size: string, body: string) => {
    arrays++;
    const bytes = bytesOf(body, Number(size), symbol);
    const kept = toPack.has(symbol) ? pack(bytes) : bytes;
    if (kept !== bytes) small.set(symbol, kept.length);
    return `__attribute__((section("${SECTION}"))) const uint8_t ${symbol}[${kept.length}] = "${asText(kept)}";`;
  });
  if (arrays !== names.length) throw new BuildError("failed", `qjsc made ${arrays} arrays for ${names.length} chunks`);
  const rows = names.map((name) => `    { "${name}", ${symbols.get(name)}, ${sizes[name]}, ${small.get(symbols.get(name) ?? "") ?? 0} },`);
  return { text: `${placed}\n#include "native.h"\nconst struct chunk chunks[] = {\n${rows.join("\n")}\n};\nconst unsigned chunk_count = ${rows.length};\n`, sizes };
}

/** The numbers of a C array, `0x01, 0x02,` and line ends. */
function bytesOf(body: string, size: number, symbol: string): Uint8Array {
  const bytes = body.split(",").map((byte) => byte.trim()).filter((byte) => byte !== "");
  if (bytes.length !== size || bytes.some((byte) => !/^0x[0-9a-f]{2}$/.test(byte))) throw new BuildError("failed", `qjsc's array ${symbol} has another form than expected`);
  return Uint8Array.from(bytes, Number);
}

/** As escapes of a C text. */
const asText = (bytes: Uint8Array): string => Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");

/**
 * Writes `dir`/bytecode.c from the chunk files there, those that no usual way through the agent loads (`often` has the others) packed;
 * `debug` keeps line numbers. Throws BuildError with qjsc's words.
 */
export async function compileBytecode(context: Context, dir: string, files: readonly string[], often: ReadonlySet<string>, qjsc: string, debug: boolean): Promise<Sizes> {
  const { flat, imported } = flatten(await Promise.all(files.map(async (file) => ({ file, text: await readFile(join(dir, file), "utf8") }))));
  for (const [i, { name, text }] of flat.entries()) {
    if (files[i] !== name) await rm(join(dir, files[i] as string));
    await writeFile(join(dir, name), text);
  }
  const names = flat.map(({ name }) => name);
  const first = names.filter((name) => !imported.has(name)); // it takes along what those import
  await run(qjsc, ["-c", "-m", ...(debug ? [] : ["-s"]), "-o", "bytecode.c", ...first], { cwd: dir, signal: context.signal });
  const made = withTable(await readFile(join(dir, "bytecode.c"), "utf8"), names, new Set(names.filter((name) => !often.has(name))));
  await writeFile(join(dir, "bytecode.c"), made.text);
  return made.sizes;
}
