// What keeps one source from holding up all others, or a number from meaning somebody else: rules about loops that take what others
// send, about signals by number, and about descriptors of the loop.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";

const agent = join(resolve(import.meta.dirname ?? dirname(new URL(import.meta.url).pathname), "../.."), "agent");
const sources = readdirSync(agent, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts") && !f.endsWith(".d.ts") && !f.includes("/gen/")).map((f) => join(agent, f));

interface Found { readonly file: string; readonly line: number; readonly text: string }
const all = (wanted: (node: ts.Node, source: ts.SourceFile) => boolean): Found[] =>
  sources.flatMap((path) => {
    const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true);
    const found: Found[] = [];
    const visit = (node: ts.Node): void => {
      if (wanted(node, source)) found.push({ file: relative(agent, path), line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1, text: node.getText().split("\n")[0] as string });
      ts.forEachChild(node, visit);
    };
    visit(source);
    return found;
  });

/** Calls that take one piece of what somebody else sends, as often as they are asked. */
const TAKES = ["readRaw", "receiveFromKernel", "accept", "collect", "recvfrom", "receiveFds"];

/** Does the statement repeat such a call with nothing but its answer to end it? */
const drains = (node: ts.Node): boolean => {
  if (!(ts.isWhileStatement(node) || ts.isDoStatement(node) || ts.isForStatement(node))) return false;
  let takes = false;
  const visit = (n: ts.Node): void => {
    if (ts.isFunctionLike(n)) return;
    if (ts.isCallExpression(n) && TAKES.includes(n.expression.getText())) takes = true;
    ts.forEachChild(n, visit);
  };
  ts.forEachChild(node, visit);
  if (!takes) return false;
  const ends = ts.isForStatement(node) ? node.condition : node.expression;
  return !(ends !== undefined && /\w+ (<|<=) [\w.]+/.test(ends.getText()));
};

/** Where nobody else waits meanwhile: the process is a command's own, or reads what it has written itself. */
const MAY_DRAIN: Readonly<Record<string, string>> = {
  "cli/foreground.ts": "a command that waits for its container, and nothing else",
};

it("no loop takes what others send without counting", () => {
  expect(all(drains).filter(({ file }) => !(file in MAY_DRAIN))).toEqual([]);
}, 60_000);

/** Who may send a signal by a process's number, and why that number cannot be another's. */
const MAY_KILL: Readonly<Record<string, string>> = {
  "sys/process.ts": "defines it",
  "lib/reaper.ts": "knows which children have not been reaped",
  "engine/birth/user-namespace.ts": "waits for that child itself, right after",
  "engine/hooks.ts": "waits for that child itself, right after",
};

it("signals by number are for who knows that it is still the same process; others have a pidfd or ask the reaper", () => {
  const kills = all((node) => ts.isCallExpression(node) && (/^(kill|tgkill)$/.test(node.expression.getText()) || (node.expression.getText() === "sys" && /^NR\.t?g?kill$/.test(node.arguments[0]?.getText() ?? ""))));
  expect(kills.filter(({ file }) => !(file in MAY_KILL) && !file.startsWith("engine/cgroup"))).toEqual([]); // a group's members are killed until it is empty
});

it("only the loop knows epoll, and only lib/crowd.ts what it has no room for", () => {
  const uses = all((node) => ts.isImportDeclaration(node) && /\bEpoll\b|\bpollAll\b/.test(node.importClause?.getText() ?? ""));
  expect(uses.map(({ file }) => file).sort()).toEqual(["lib/crowd.ts", "lib/loop.ts", "lib/outlet.ts"]);
});

it("nothing writes to a standard stream by itself but what ends right after", () => {
  const writes = all((node) => ts.isCallExpression(node) && node.expression.getText() === "sys" && node.arguments[0]?.getText() === "NR.write" && /^[12]$/.test(node.arguments[1]?.getText() ?? ""));
  expect(writes.map(({ file }) => file).filter((file) => !file.startsWith("cli/"))).toEqual([]);
});
