// Rules of the agent's defence that no other file holds, and docs/security.md against the code: a bound that is told there is the one
// that is written, a test that is named exists and mentions what it is named for.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const agent = join(root, "agent");
const sources = readdirSync(agent, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts") && !f.endsWith(".d.ts") && !f.includes("/gen/")).map((f) => join(agent, f));
const parsed = new Map(sources.map((path) => [relative(agent, path), ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true)]));

/** The files in which `wanted` is true of some node. */
const filesWith = (wanted: (node: ts.Node) => boolean): string[] =>
  [...parsed].filter(([, source]) => {
    let found = false;
    const visit = (node: ts.Node): void => {
      found ||= wanted(node);
      if (!found) ts.forEachChild(node, visit);
    };
    visit(source);
    return found;
  }).map(([file]) => file).sort();

const called = (node: ts.Node): string => (ts.isCallExpression(node) ? node.expression.getText() : "");

describe("texts of foreign bytes", () => {
  // names of files, links, arguments become text by bytesText (sys/utf8.ts), which loses nothing
  it("have no place where bytes that are not UTF-8 become a replacement character, but for answers that nobody looks up", () => {
    const losing = filesWith((node) => (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) && node.text.includes("\ufffd"));
    expect(losing).toEqual([
      "init/main.ts", // looks whether the C host has lost some
      "sandbox/diagnostics.ts", // the last words of a container, as the API wants them
      "sys/arguments.ts", // the same as init/main.ts
    ]);
  });

  it("are read strictly everywhere else, and only numbers, words and messages may come out as nothing", () => {
    const withDefault = filesWith((node) => ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken && /(^|\.)utf8Decode$/.test(called(node.left)) && ts.isStringLiteral(node.right));
    expect(withDefault).toEqual([
      "cli/ps.ts", // output of ps, which is printed
      "engine/cgroup/below.ts", "engine/cgroup/files.ts", // numbers of processes
      "engine/handshake.ts", // JSON of our own
      "engine/hooks.ts", "lib/command.ts", "sandbox/kernel-modules.ts", // messages
      "engine/child/keyring.ts", // numbers
      "engine/birth/spawn-inside.ts", // a number or a message
      "lib/child-task.ts", // JSON of our own
      "lib/rtnl-message.ts", // names of links, as the kernel has let them be
      "sys/poll.ts", // a mask of signals
      "sys/process.ts", // a number
    ].sort());
  });
});

describe("the end of the agent", () => {
  it("by reboot(2) is for PID 1 alone", () => {
    expect(filesWith((node) => called(node) === "reboot" || (ts.isPropertyAccessExpression(node) && node.getText() === "NR.reboot")).filter((file) => !file.startsWith("sys/"))).toEqual(["init/pid1.ts"]);
  });

  /** Who may leave the process, and which process that is. */
  const LEAVE: Readonly<Record<string, string>> = {
    "engine/child/run.ts": "a container's child", "engine/child/filter.ts": "a container's child", "engine/child/become.ts": "a container's child", "engine/child/go-inside.ts": "a container's child", "engine/handshake.ts": "a container's child", "engine/birth/spawn.ts": "a container's child",
    "engine/child/last-steps.ts": "the stub's list", "engine/birth/spawn-inside.ts": "a helper", "engine/child/proc-of.ts": "a helper", "engine/child/exec-stub.ts": "a container's child", "engine/child/terminal.ts": "a container's child",
    "lib/child-task.ts": "a helper", "lib/fork.ts": "a program's child", "lib/foreign.ts": "a helper", "sandbox/shared-ns.ts": "a helper",
  };
  it("by exit_group(2) is for init/, commands, and children after their clone", () => {
    const leaving = filesWith((node) => called(node) === "exitGroup" || (ts.isPropertyAccessExpression(node) && node.getText() === "NR.exit_group"));
    expect(leaving.filter((file) => !/^(sys|init|cli)\//.test(file) && !(file in LEAVE))).toEqual([]);
  });

  it("`fatal` is called by init/ alone", () => {
    expect(filesWith((node) => called(node) === "fatal").filter((file) => !file.startsWith("init/"))).toEqual([]);
  });
});

describe("docs/security.md", () => {
  const text = readFileSync(join(root, "docs/security.md"), "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith("| ")).map((line) => line.slice(2, -2).split(" | "));

  /** A constant expression of numbers, as it is written. */
  const valueOf = (node: ts.Expression): number => {
    if (ts.isNumericLiteral(node)) return Number(node.text.replaceAll("_", ""));
    if (ts.isParenthesizedExpression(node)) return valueOf(node.expression);
    if (!ts.isBinaryExpression(node)) return NaN;
    const [a, b] = [valueOf(node.left), valueOf(node.right)];
    switch (node.operatorToken.kind) {
      case ts.SyntaxKind.LessThanLessThanToken: return a << b;
      case ts.SyntaxKind.AsteriskToken: return a * b;
      case ts.SyntaxKind.MinusToken: return a - b;
      case ts.SyntaxKind.AsteriskAsteriskToken: return a ** b;
      default: return NaN;
    }
  };
  const constant = (file: string, name: string): number => {
    const source = parsed.get(relative("agent", file));
    let value = NaN;
    source?.forEachChild((node) => {
      if (!ts.isVariableStatement(node)) return;
      for (const { name: own, initializer } of node.declarationList.declarations) if (own.getText() === name && initializer !== undefined) value = valueOf(initializer);
    });
    return value;
  };

  const bounds = rows.flatMap(([what = "", value, where = ""]) => {
    const match = /^`(agent\/[\w./-]+)` ([A-Z_]+)$/.exec(where);
    return match === null ? [] : [[what, Number(value), match[1] as string, match[2] as string] as const];
  });
  it("tells of bounds", () => expect(bounds.length).toBeGreaterThan(20));
  it.each(bounds)("%s: %d in %s %s", (_, value, file, name) => expect(constant(file, name)).toBe(value));

  const tests = [...new Set([...text.matchAll(/`(test\/[\w./-]+\.test\.ts)`/g)].map((m) => m[1] as string))];
  it.each(tests)("%s is there", (file) => expect(existsSync(join(root, file))).toBe(true));

  it.each([...new Set(text.match(/CVE-\d{4}-\d+/g))])("%s has a test", (cve) => {
    const row = rows.find(([what]) => what?.includes(cve));
    const file = /`(test\/[^`]+)`/.exec(row?.at(-1) ?? "")?.[1] ?? "";
    const mentioned = ["host", "rules", "vm", "attack"].some((dir) => readdirSync(join(root, "test", dir), { recursive: true, encoding: "utf8" }).some((name) => /\.(ts|c)$/.test(name) && readFileSync(join(root, "test", dir, name), "utf8").includes(cve)));
    expect({ file: existsSync(join(root, file)), mentioned }).toEqual({ file: true, mentioned: true });
  });
});
