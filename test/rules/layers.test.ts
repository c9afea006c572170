// The house's rules that a reader would otherwise have to check: who may import whom, how long files and functions are,
// that child code stays synchronous, and that nothing above sys/ touches the C host.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname ?? dirname(new URL(import.meta.url).pathname), "../..");
const agent = join(root, "agent");

function files(dir: string, ending: string[]): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return ["node_modules", "dist", "gen"].includes(e.name) ? [] : files(path, ending);
    return ending.some((s) => e.name.endsWith(s)) ? [path] : [];
  });
}

/** A layer may import itself and what stands before it. Layers of one rank are independent of each other. */
const RANKS = [["abi"], ["sys"], ["lib"], ["oci"], ["engine"], ["devices"], ["storage", "network"], ["sandbox"], ["rpc"], ["cli"], ["init"]];
const rankOf = (layer: string): number => RANKS.findIndex((r) => r.includes(layer));
const OCI_MAY = ["lib/bytes", "lib/text", "lib/errors", "lib/lazy", "oci/"];

const sources = files(agent, [".ts"]).filter((f) => !f.endsWith(".d.ts"));
const imports = (text: string): string[] => [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((m) => m[1] as string);

describe("layers of the agent", () => {
  it.each(sources.map((f) => [relative(agent, f), f]))("%s imports only from layers before it", (name, file) => {
    const layer = (name as string).split("/")[0] as string;
    for (const spec of imports(readFileSync(file as string, "utf8"))) {
      const target = relative(agent, resolve(dirname(file as string), spec));
      const other = target.split("/")[0] as string;
      if (layer === "oci") expect(OCI_MAY.some((p) => target.startsWith(p)), `${name} imports ${target}`).toBe(true);
      if (other !== layer) expect(rankOf(other), `${name} imports ${target}`).toBeLessThan(rankOf(layer));
    }
  });

  it("only sys/ and lib/lazy.ts and the seccomp compiler name the C host", () => {
    const allowed = /^(sys\/|lib\/lazy\.ts$|oci\/seccomp)/;
    const direct = sources.filter((f) => /\bnative\.(syscall|load|seccomp)\b/.test(readFileSync(f, "utf8"))).map((f) => relative(agent, f));
    expect(direct.filter((f) => !allowed.test(f))).toEqual([]);
  });

});

describe("imports", () => {
  const trees = ["agent", "ctl", "image-builder", "bench", "protos", "tools"].map((dir) => [dir, files(join(root, dir), [".ts", ".mjs"])] as const);
  it.each(trees)("of %s have no cycle, those of types and of lazy modules included", (_, all) => {
    const graph = new Map(all.map((f) => [f, imports(readFileSync(f, "utf8")).map((s) => resolve(dirname(f), s.replace(/\.js$/, ".ts")))]));
    const state = new Map<string, "open" | "done">();
    const walk = (f: string, path: string[]): void => {
      if (state.get(f) === "done") return;
      if (state.get(f) === "open") throw new Error(`cycle: ${[...path.slice(path.indexOf(f)), f].map((p) => relative(root, p)).join(" -> ")}`);
      state.set(f, "open");
      for (const next of graph.get(f) ?? []) walk(next, [...path, f]);
      state.set(f, "done");
    };
    for (const f of all) walk(f, []);
  });
});

describe("sizes", () => {
  const all = [...files(agent, [".ts", ".c"]), ...["image-builder", "ctl", "bench", "protos", "tools"].flatMap((d) => files(join(root, d), [".ts"]))];
  it.each(all.map((f) => [relative(root, f), f]))("%s has at most 400 lines", (_, f) => {
    expect(readFileSync(f as string, "utf8").split("\n").length - 1).toBeLessThanOrEqual(400);
  });
  /** The C host stays small: what is new in C needs a reason, and more lines here. */
  const C_LINES: Readonly<Record<string, number>> = { "main.c": 140, "heap.c": 155, "native.c": 210, "native.h": 25, "stub.c": 80 };
  it.each(files(join(agent, "native"), [""]).map((f) => [relative(join(agent, "native"), f), f]))("the C host's %s keeps within its lines", (name, f) => {
    expect(readFileSync(f as string, "utf8").split("\n").length - 1).toBeLessThanOrEqual(C_LINES[name as string] ?? 0);
  });
  it.each(sources.map((f) => [relative(agent, f), f]))("functions of %s have at most 80 lines", (_, f) => {
    const source = ts.createSourceFile(f as string, readFileSync(f as string, "utf8"), ts.ScriptTarget.ES2022, true);
    const long: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) && "body" in node && node.body) {
        const span = source.getLineAndCharacterOfPosition(node.end).line - source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
        if (span > 80) long.push(`${node.name?.getText() ?? "(anonymous)"}: ${span}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    expect(long).toEqual([]);
  });
});

describe("child code", () => {
  it.each(sources.map((f) => [relative(agent, f), f]).filter(([name]) => name?.startsWith("engine/child/")))("%s is synchronous", (_, f) => {
    expect(readFileSync(f as string, "utf8")).not.toMatch(/\basync\b|\bawait\b|\bPromise\b/);
  });
});
