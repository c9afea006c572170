// A buffer whose address the kernel gets in a structure must outlive the call: what a function makes and names by its address is named once
// more after the call (keepAlive, or because it is read). Parameters are their caller's.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const agent = resolve(import.meta.dirname, "../../agent");
const sources = readdirSync(agent, { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile() && e.name.endsWith(".ts") && !e.name.endsWith(".d.ts"))
  .map((e) => relative(agent, join(e.parentPath, e.name)));

const all = (node: ts.Node): ts.Node[] => {
  const found: ts.Node[] = [node];
  ts.forEachChild(node, (child) => void found.push(...all(child)));
  return found;
};
const isCall = (node: ts.Node, name: RegExp): node is ts.CallExpression => ts.isCallExpression(node) && name.test(node.expression.getText());

/** The names of buffers that may be freed before the call that gets their address. */
export function loose(text: string): string[] {
  const source = ts.createSourceFile("x.ts", text, ts.ScriptTarget.ES2022, true);
  const functions = all(source).filter((node): node is ts.FunctionDeclaration => ts.isFunctionDeclaration(node) && node.body !== undefined);
  return functions.flatMap((f) => {
    const nodes = all(f);
    const own = new Set(nodes.filter(ts.isVariableDeclaration).map((v) => v.name.getText()));
    return nodes.filter((node) => isCall(node, /^native\.addressOf$/)).flatMap((node) => {
      const name = /^\w+/.exec((node as ts.CallExpression).arguments[0]?.getText() ?? "")?.[0] ?? "";
      if (!own.has(name)) return [];
      const call = nodes.find((other) => isCall(other, /^(sys|must)$/) && other.pos >= node.end);
      return call === undefined || nodes.some((other) => ts.isIdentifier(other) && other.text === name && other.pos >= call.end) ? [] : [`${f.name?.text}: ${name}`];
    });
  });
}

describe("addresses", () => {
  it.each(sources)("in %s are of buffers that outlive the call", (file) => {
    expect(loose(readFileSync(join(agent, file), "utf8"))).toEqual([]);
  });
  it("are found by this test", () => {
    expect(loose("function f(a) { const b = new Uint8Array(1); const c = make(native.addressOf(b) + native.addressOf(a)); must(1, c); }")).toEqual(["f: b"]);
    expect(loose("function f() { const b = new Uint8Array(1); const c = make(native.addressOf(b)); must(1, c); keepAlive(b); }")).toEqual([]);
  });
});
