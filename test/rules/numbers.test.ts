// No bare numbers of the kernel's interface: they have their names in agent/abi, each once. What can be told by syntax: the arguments of
// system calls, numbers in hexadecimal or octal, and enums that abi has already.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const agent = resolve(import.meta.dirname, "../../agent");
const files = readdirSync(agent, { recursive: true, withFileTypes: true })
  .filter((e) => e.name.endsWith(".ts") && !e.name.endsWith(".d.ts"))
  .map((e) => relative(agent, join(e.parentPath, e.name)))
  .filter((name) => !name.startsWith("rpc/gen/"));

/** Arguments that are amounts, places, ids or yes and no, by call; all others are names or 0. */
const AMOUNTS: Readonly<Record<string, readonly number[]>> = {
  prctl: [1, 2, 3, 4], ppoll: [1], wait4: [0], signalfd4: [0], fchown: [1, 2], fchownat: [2, 3], close_range: [0, 1], exit_group: [0], read: [2], write: [2], dup3: [1], setsockopt: [4], ioctl: [0, 2], set_mempolicy: [2],
  lseek: [1], recvfrom: [2], sendto: [2], kill: [0], accept4: [0], clock_settime: [], getrandom: [1],
};
/** Files that calculate with bits, and what they are. */
const BITS: Readonly<Record<string, string>> = {
  "sandbox/copy-file.ts": "a hash", "sys/utf8.ts": "UTF-8 and UTF-16", "cli/messages.ts": "characters", "rpc/wire/": "varints", "engine/child/exec-stub.ts BASE": "an address of our own", "sys/struct.ts": "halves of 64 bits",
};
/** Masks of whole digits and bytes, and the largest signed number, are no flags. */
const WHOLE = [0xff, 0xfff, 0xffff, 0xffffffff, 0x7fffffff, 0xff00];

const NUMBER = /^NR\.(\w+)$/;

/** The literals that stand for themselves in an argument: not those in calls, lists and indices inside it. */
function literals(node: ts.Expression): ts.NumericLiteral[] {
  if (ts.isNumericLiteral(node)) return [node];
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return literals(node.expression);
  if (ts.isPrefixUnaryExpression(node)) return literals(node.operand);
  if (ts.isConditionalExpression(node)) return [...literals(node.whenTrue), ...literals(node.whenFalse)];
  if (ts.isBinaryExpression(node)) return [ts.SyntaxKind.BarToken, ts.SyntaxKind.AmpersandToken, ts.SyntaxKind.PlusToken].includes(node.operatorToken.kind) ? [...literals(node.left), ...literals(node.right)] : [];
  return [];
}

/** The number of a call and its arguments: of sys(NR.x, ...), must("x", NR.x, ...), { call: NR.x, args: [...] }. */
function callOf(node: ts.Node): { readonly name: string; readonly args: readonly ts.Expression[] } | undefined {
  let all: readonly ts.Expression[] = [];
  if (ts.isCallExpression(node)) all = node.arguments;
  else if (ts.isObjectLiteralExpression(node)) {
    const value = (name: string): ts.Expression | undefined => node.properties.filter(ts.isPropertyAssignment).find((p) => p.name.getText() === name)?.initializer;
    const [call, args] = [value("call"), value("args")];
    if (call !== undefined && args !== undefined && ts.isArrayLiteralExpression(args)) all = [call, ...args.elements];
  }
  const at = all.findIndex((a) => NUMBER.test(a.getText()));
  return at < 0 ? undefined : { name: NUMBER.exec((all[at] as ts.Expression).getText())?.[1] as string, args: all.slice(at + 1) };
}

const isMode = (literal: ts.NumericLiteral): boolean => /^0o[0-7]{1,4}$/.test(literal.getText()); // permissions are written as such

function bare(name: string, text: string): string[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);
  const found: string[] = [];
  const excused = Object.keys(BITS).map((key) => key.split(" ")).filter(([file]) => name.startsWith(file as string)).map(([, constant]) => constant);
  const visit = (node: ts.Node): void => {
    const call = callOf(node);
    call?.args.forEach((argument, i) => {
      if ((AMOUNTS[call.name] ?? []).includes(i)) return;
      for (const literal of literals(argument)) if (literal.text !== "0" && !isMode(literal)) found.push(`${name}: ${call.name}: ${argument.getText()}`);
    });
    if (ts.isNumericLiteral(node) && /^0[xo]/.test(node.getText()) && !isMode(node) && Number(node.getText()) > 0xff && !WHOLE.includes(Number(node.getText()))) {
      const constant = ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : "";
      if (!excused.some((only) => only === undefined || only === constant)) found.push(`${name}: ${node.parent.getText().slice(0, 60)}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe("numbers of the kernel's interface", () => {
  const outside = files.filter((name) => !name.startsWith("abi/"));
  it.each(outside)("%s has none that is bare", (name) => expect(bare(name, readFileSync(join(agent, name), "utf8"))).toEqual([]));

  it.each([
    ["must(\"fcntl\", NR.fcntl, n, 1030, 3)", 2], ["sys(NR.eventfd2, 0, 0x80800)", 2], ["sys(NR.prctl, 38, 1, 0, 0, 0)", 1], ["sys(NR.openat, -100, path, O.RDONLY)", 1], ["sys(NR.openat, dir, path, O.RDONLY | 2)", 1],
    ["const PROC_SUPER_MAGIC = 0x9fa0", 1], ["must(\"fsopen\", NR.fsopen, type, 1)", 1], ["const step = { call: NR.seccomp, args: [1, flags, filter] }", 1], ["mount(a, b, c, 0x1000)", 1], ["if ((flags & 0o200000) !== 0) go()", 1],
    ["sys(NR.mkdirat, AT.FDCWD, path, 0o755)", 0], ["sys(NR.prctl, PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0)", 0], ["const low = word & 0xffff", 0], ["sys(NR.fcntl, n, F.SETFD, on ? FD.CLOEXEC : 0)", 0],
  ])("are seen in %s: %d", (text, n) => expect(bare("x.ts", text).length).toBe(n));

  it("have one enum each", () => {
    const names = (name: string): string[] => [...readFileSync(join(agent, name), "utf8").matchAll(/\benum (\w+)/g)].map((m) => m[1] as string);
    const own = new Set(files.filter((name) => name.startsWith("abi/")).flatMap(names));
    expect(own.size).toBeGreaterThan(50);
    for (const name of outside) expect(names(name).filter((n) => own.has(n)), name).toEqual([]);
  });
});
