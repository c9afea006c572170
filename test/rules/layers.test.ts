// The house's rules that a reader would otherwise have to check: who may import whom, how long files and functions are,
// that child code stays synchronous, and that nothing above sys/ touches the C host.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { type Layer, LAYERS, mayImport, NATIVE, readPage, withLayers } from "./layers-table.js";

const root = resolve(import.meta.dirname ?? dirname(new URL(import.meta.url).pathname), "../..");
const agent = join(root, "agent");

function files(dir: string, ending: string[]): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return ["node_modules", "dist", "gen"].includes(e.name) ? [] : files(path, ending);
    return ending.some((s) => e.name.endsWith(s)) ? [path] : [];
  });
}

const sources = files(agent, [".ts"]).filter((f) => !f.endsWith(".d.ts"));
interface Import { readonly path: string; readonly onlyTypes: boolean }

/** What a file imports from others of ours; `lazy<typeof import(...)>` counts as an import. */
function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined && ts.isStringLiteral(node.moduleSpecifier)) {
      const onlyTypes = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly === true : node.isTypeOnly;
      found.push({ path: node.moduleSpecifier.text, onlyTypes });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      found.push({ path: node.argument.literal.text, onlyTypes: !node.isTypeOf });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.ES2022, true));
  return found.filter(({ path }) => path.startsWith("."));
}

const imports = (file: string): string[] => importsOf(file).map(({ path }) => resolve(dirname(file), path.replace(/\.js$/, ".ts")));
const layerOf = (name: string): number => LAYERS.findIndex((l) => l.names.includes(name.split("/")[0] as string));

describe("layers of the agent", () => {
  it.each(sources.map((f) => [relative(agent, f), f] as const))("%s imports what its layer may", (name, file) => {
    const at = layerOf(name);
    expect(at, `${name} is in no layer (layers-table.ts)`).toBeGreaterThanOrEqual(0);
    for (const { path, onlyTypes } of importsOf(file)) {
      const target = relative(agent, resolve(dirname(file), path));
      if (target.split("/")[0] !== name.split("/")[0]) expect(mayImport(LAYERS[at] as Layer, target, onlyTypes), `${name} imports ${target}`).toBe(true);
    }
  });
  it("import only from those before them", () => {
    const wrong = LAYERS.flatMap((l, i) => l.imports.filter((t) => layerOf(t.replace(/^type /, "")) >= i || layerOf(t.replace(/^type /, "")) < 0).map((t) => `${l.names.join()}: ${t}`));
    expect(wrong).toEqual([]);
  });
  it("are in agent/README.md as they are here (make gen writes them)", () => {
    expect(readPage()).toBe(withLayers(readPage()));
  });
  it("name of the C host only what they may", () => {
    const wrong = sources.flatMap((f) => {
      const name = relative(agent, f);
      const named = [...readFileSync(f, "utf8").matchAll(/\bnative\.(\w+)/g)].map((m) => m[1] as string);
      return named.filter((member) => NATIVE[member]?.some((place) => name.startsWith(place)) === false).map((member) => `${name}: native.${member}`);
    });
    expect(wrong).toEqual([]);
  });
  it("only the engine changes a container or a process", () => {
    const changes = /\b(changeable|setStreams|setClaimant|setCollected|replace)\b[^;]*\bfrom "[^"]*engine\/(container|process)\.js"/;
    expect(sources.filter((f) => !relative(agent, f).startsWith("engine/") && changes.test(readFileSync(f, "utf8"))).map((f) => relative(agent, f))).toEqual([]);
  });
  it("sys knows no promises", () => {
    expect(sources.filter((f) => relative(agent, f).startsWith("sys/") && /\basync\b|\bawait\b|\bPromise\b/.test(readFileSync(f, "utf8")))).toEqual([]);
  });
});

describe("imports", () => {
  const trees = ["agent", "ctl", "image-builder", "bench", "protos", "tools"].map((dir) => [dir, files(join(root, dir), [".ts", ".mjs"])] as const);
  it.each(trees)("of %s have no cycle, those of types and of lazy modules included", (_, all) => {
    const graph = new Map(all.map((f) => [f, imports(f)]));
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
  const C_LINES: Readonly<Record<string, number>> = { "main.c": 180, "heap.c": 155, "native.c": 216, "native.h": 25, "stub.c": 80 };
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
