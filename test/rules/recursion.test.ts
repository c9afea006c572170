// No function of the agent calls itself, by itself or through others: what it works on may have been sized by a peer or a container,
// and the interpreter's stack is small. A few do, over what has a bound; each is named here with that bound. The graph of calls is
// TypeScript's own: calls of functions, methods and accessors whose declaration it knows; a callback belongs to where it is written,
// unless it is handed to what calls it later from the loop.
import { relative, resolve } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const agent = resolve(root, "agent");

/** "file: function": what bounds its depth. */
const CLOSED = "a call that ends because its connection is lost sends nothing, and a connection is closed once";
const SCHEMA = "the messages of the API: the schema has no message that holds itself";
const SHAPE = "the shape of a configuration, which is data of ours and holds no shape that holds itself";
const GROUPS = "groups are nested GROUP_DEPTH (64) deep at most";
const FOLLOWED = "16 entries are followed at most (MAX_ENTRIES), folders among them";
const BOUNDED: Readonly<Record<string, string>> = {
  "engine/cgroup/files.ts: write": "a limit has one other way to be written, and that one has none",
  "oci/shape.ts: Walker.walk": SHAPE, "oci/shape.ts: Walker.list": SHAPE, "oci/shape.ts: Walker.object": SHAPE, "oci/shape.ts: Walker.field": SHAPE,
  "rpc/call.ts: Call.cancel": CLOSED, "rpc/call.ts: sendStatus": CLOSED, "rpc/connection.ts: Connection.close": CLOSED,
  "rpc/connection.ts: Connection.forget": CLOSED, "rpc/connection.ts: Connection.lost": CLOSED, "rpc/connection.ts: Connection.send": CLOSED,
  "rpc/wire/decode.ts: fill": SCHEMA, "rpc/wire/decode.ts: lengthField": SCHEMA, "rpc/wire/decode.ts: mapEntry": SCHEMA,
  "rpc/wire/decode.ts: skip": GROUPS, "rpc/wire/decode.ts: skipGroup": GROUPS,
  "rpc/wire/encode.ts: field": SCHEMA, "rpc/wire/encode.ts: put": SCHEMA, "rpc/wire/encode.ts: putList": SCHEMA, "rpc/wire/encode.ts: putMap": SCHEMA,
  "storage/watch-sync.ts: copyFolder": FOLLOWED, "storage/watch-sync.ts: syncFolder": FOLLOWED,
};

/** These call what they are given from the loop, when this call has long returned. */
const LATER = ["after", "watch", "onExit", "then", "catch", "finally", "run", "whenEnded"];

type Callable = ts.FunctionLikeDeclaration;

const isCallable = (node: ts.Node): node is Callable => ts.isFunctionLike(node) && "body" in node && node.body !== undefined;

/** Has a function a name that others can call it by? An anonymous callback has none. */
const named = (node: Callable): boolean =>
  !(ts.isArrowFunction(node) || ts.isFunctionExpression(node)) || ts.isVariableDeclaration(node.parent) || ts.isPropertyDeclaration(node.parent) || ts.isPropertyAssignment(node.parent);

const nameOf = (node: Callable): string => {
  const own = node.name ?? ("name" in node.parent ? (node.parent as ts.NamedDeclaration).name : undefined);
  const name = ts.isConstructorDeclaration(node) ? "constructor" : (own?.getText() ?? "?");
  const holder = ts.isClassLike(node.parent) ? `${node.parent.name?.text ?? "?"}.` : "";
  return `${relative(agent, node.getSourceFile().fileName)}: ${holder}${name}`;
};

/** Is it handed to something that calls it from the loop? */
const isLater = (node: Callable): boolean => {
  const call = node.parent;
  if (!ts.isCallExpression(call) || !call.arguments.includes(node as never)) return false;
  const callee = call.expression;
  return LATER.includes(ts.isPropertyAccessExpression(callee) ? callee.name.text : callee.getText());
};

function callGraph(): Map<Callable, Set<Callable>> {
  const config = ts.parseJsonConfigFileContent(ts.readConfigFile(resolve(agent, "tsconfig.json"), (f) => ts.sys.readFile(f)).config, ts.sys, agent);
  const program = ts.createProgram(config.fileNames, config.options);
  const checker = program.getTypeChecker();
  const graph = new Map<Callable, Set<Callable>>();
  const targetOf = (node: ts.Node): Callable | undefined => {
    let symbol = checker.getSymbolAtLocation(node);
    if (symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0) symbol = checker.getAliasedSymbol(symbol);
    for (const declaration of symbol?.declarations ?? []) {
      if (isCallable(declaration)) return declaration;
      const value = ts.isVariableDeclaration(declaration) || ts.isPropertyDeclaration(declaration) || ts.isPropertyAssignment(declaration) ? declaration.initializer : undefined;
      if (value !== undefined && isCallable(value)) return value;
    }
    return undefined;
  };
  for (const source of program.getSourceFiles()) {
    if (source.isDeclarationFile || !source.fileName.startsWith(agent)) continue;
    const visit = (node: ts.Node, inside: Callable | undefined): void => {
      let within = inside;
      if (isCallable(node)) {
        if (named(node)) within = node;
        else if (isLater(node)) within = undefined;
        if (within !== undefined && !graph.has(within)) graph.set(within, new Set());
      }
      if (within !== undefined) {
        const called = ts.isCallExpression(node) || ts.isNewExpression(node) ? node.expression : ts.isPropertyAccessExpression(node) ? node : undefined;
        const name = called === undefined ? undefined : ts.isPropertyAccessExpression(called) ? called.name : called;
        const target = name === undefined ? undefined : targetOf(name);
        const isCall = ts.isCallExpression(node) || ts.isNewExpression(node);
        if (target !== undefined && (isCall || ts.isAccessor(target))) graph.get(within)?.add(target);
      }
      ts.forEachChild(node, (child) => visit(child, within));
    };
    visit(source, undefined);
  }
  return graph;
}

/** The functions that can be reached from themselves. */
function recursive(graph: Map<Callable, Set<Callable>>): Callable[] {
  return [...graph.keys()].filter((start) => {
    const seen = new Set<Callable>();
    const next = [...(graph.get(start) ?? [])];
    for (let node = next.pop(); node !== undefined; node = next.pop()) {
      if (node === start) return true;
      if (!seen.has(node)) next.push(...(graph.get(node) ?? []));
      seen.add(node);
    }
    return false;
  });
}

it("no function calls itself, but those over what has a bound", () => {
  const found = new Set(recursive(callGraph()).map(nameOf));
  expect([...found].filter((name) => !(name in BOUNDED)).sort(), "recursive, and no bound is named").toEqual([]);
  expect(found.size, "the graph finds none: it is broken").toBeGreaterThan(0);
}, 60_000);
