// Owns the explanation why kconfig did not grant a symbol: reads the Kconfig files of a source tree as far as that needs (config,
// menuconfig, choice, if, menu, depends on, source) and names the conditions that do not hold. Only ever used for a message:
// what it cannot read it leaves out. Source: Documentation/kbuild/kconfig-language.rst.
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface Definition {
  readonly file: string;
  readonly depends: readonly string[];
  readonly prompt: boolean;
}

export type Definitions = ReadonlyMap<string, readonly Definition[]>;

interface Open {
  readonly kind: "if" | "menu" | "choice" | "config" | "comment";
  readonly symbol?: string;
  depends: string[];
  prompt: boolean;
}

/** Every symbol the tree defines for `srcArch` (x86, arm64), with the conditions it sits under. */
export function readDefinitions(tree: string, srcArch: string): Definitions {
  const all = new Map<string, Definition[]>();
  const seen = new Set<string>();
  const load = (file: string, outer: readonly string[]): void => {
    const path = file.replaceAll("$(SRCARCH)", srcArch).replaceAll("$SRCARCH", srcArch);
    if (seen.has(path)) return;
    seen.add(path);
    let text: string;
    try {
      text = readFileSync(join(tree, path), "utf8");
    } catch {
      return;
    }
    readFile(path, text.replace(/\\\n/g, " "), outer, all, load);
  };
  load("Kconfig", []);
  return all;
}

function readFile(file: string, text: string, outer: readonly string[], all: Map<string, Definition[]>,
  load: (file: string, outer: readonly string[]) => void): void {
  const blocks: Open[] = [];
  let current: Open | undefined;
  let helpIndent = -1;
  const around = (): string[] => [...outer, ...blocks.flatMap((b) => b.depends)];
  const close = (): void => {
    if (current?.kind === "config" && current.symbol !== undefined) {
      const list = all.get(current.symbol) ?? [];
      list.push({ file, depends: [...around(), ...current.depends], prompt: current.prompt });
      all.set(current.symbol, list);
    }
    current = undefined;
  };
  for (const raw of text.split("\n")) {
    const indent = raw.search(/\S/);
    if (indent < 0) continue;
    if (helpIndent >= 0 && indent > helpIndent) continue;
    helpIndent = -1;
    const line = raw.trim();
    if (line.startsWith("#")) continue;
    const word = /^[\w-]+/.exec(line)?.[0] ?? "";
    const rest = line.slice(word.length).trim();
    switch (word) {
      case "help": case "---help---": helpIndent = indent; break;
      case "config": case "menuconfig": close(); current = { kind: "config", symbol: rest, depends: [], prompt: false }; break;
      case "comment": close(); current = { kind: "comment", depends: [], prompt: false }; break;
      case "if": close(); blocks.push({ kind: "if", depends: [rest], prompt: false }); break;
      case "menu": case "choice": close(); current = { kind: word, depends: [], prompt: false }; blocks.push(current); break;
      case "endif": case "endmenu": case "endchoice": close(); blocks.pop(); break;
      case "source": close(); load(rest.replaceAll('"', ""), around()); break;
      case "depends": current?.depends.push(rest.replace(/^on\s+/, "")); break;
      case "bool": case "tristate": case "int": case "hex": case "string": case "prompt":
        if (current !== undefined && rest !== "") current.prompt = true;
        break;
      default:
    }
  }
  close();
}

/**
 * Why `symbol` is not what was asked for, as a short phrase: no such symbol, not to be chosen by hand, or the conditions that the
 * final configuration does not meet. Empty when nothing sure can be said.
 */
export function explain(symbol: string, definitions: Definitions, final: ReadonlyMap<string, string>): string {
  const found = definitions.get(symbol);
  if (found === undefined) return `this kernel has no symbol ${symbol}`;
  const open = found.map((d) => d.depends.filter((e) => evaluate(e, final) === false));
  if (open.some((unmet) => unmet.length === 0)) {
    return found.some((d) => d.prompt) ? "" : `${symbol} cannot be asked for, other symbols select it (${found[0]?.file ?? ""})`;
  }
  const unmet = open.reduce((a, b) => (b.length < a.length ? b : a));
  const names = new Set(unmet.flatMap((e) => e.match(/[A-Z0-9_]{2,}/g) ?? []));
  return `depends on ${unmet.join(" && ")}, where ${[...names].map((n) => `${n}=${final.get(n) ?? "n"}`).join(" ")}`;
}

/** Whether a kconfig expression holds; undefined when it has forms that this does not read. */
export function evaluate(expression: string, final: ReadonlyMap<string, string>): boolean | undefined {
  const tokens = expression.match(/&&|\|\||!=|=|!|\(|\)|"[^"]*"|[\w.-]+/g) ?? [];
  if (/[$<>]/.test(expression)) return undefined;
  let at = 0;
  const value = (token: string): string => (token.startsWith('"') ? token.slice(1, -1) : /^([ymn]|-?\d+|0x[\da-fA-F]+)$/.test(token) ? token : final.get(token) ?? "n");
  const unary = (): boolean => {
    const token = tokens[at++] ?? "n";
    if (token === "!") return !unary();
    if (token === "(") {
      const inner = or();
      at++;
      return inner;
    }
    const op = tokens[at];
    if (op === "=" || op === "!=") {
      const other = value(tokens[at + 1] ?? "n");
      at += 2;
      return (value(token) === other) === (op === "=");
    }
    return value(token) !== "n";
  };
  const and = (): boolean => {
    let all = unary();
    while (tokens[at] === "&&") {
      at++;
      const next = unary();
      all = all && next;
    }
    return all;
  };
  const or = (): boolean => {
    let any = and();
    while (tokens[at] === "||") {
      at++;
      const next = and();
      any = any || next;
    }
    return any;
  };
  return or();
}
