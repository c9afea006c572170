// Owns what the fragments in kernel-configs/ mean: reading them, merging them into one request list, and holding a final .config
// against it. Pure text in, values out; it never runs kconfig itself. Fragment grammar, one request a line:
//   CONFIG_X=y | CONFIG_X=n | CONFIG_X=42 | CONFIG_X="text"        a request; `=n` asks that X is off
//   one-of: CONFIG_X=y CONFIG_Y=y                                  at least one of them has to hold
//   # ...                                                          a comment
// Source: Documentation/kbuild/kconfig.rst for the form of .config.
import { BuildError } from "../lib/errors.js";

export interface Fragment {
  readonly name: string;
  readonly text: string;
}

export interface Request {
  readonly symbol: string;
  readonly value: string;
}

/** One line of a fragment: all of `any` hold when at least one does. */
export interface Wish {
  readonly where: string;
  readonly any: readonly Request[];
}

export interface Lost {
  readonly wish: Wish;
  /** What the final configuration says instead, for each symbol of the wish. */
  readonly got: readonly string[];
}

const REQUEST = /^CONFIG_(\w+)=(y|n|-?\d+|0x[0-9a-fA-F]+|"[^"]*")$/;

/** The requests of all fragments in order. Throws BuildError "config" listing every line that cannot be read or contradicts an earlier one. */
export function parseFragments(fragments: readonly Fragment[]): Wish[] {
  const wishes: Wish[] = [];
  const problems: string[] = [];
  const seen = new Map<string, { readonly value: string; readonly where: string }>();
  for (const fragment of fragments) {
    fragment.text.split("\n").forEach((raw, index) => {
      const line = raw.trim();
      if (line === "" || line.startsWith("#")) return;
      const where = `${fragment.name}:${index + 1}`;
      const parts = line.startsWith("one-of:") ? line.slice(7).trim().split(/\s+/) : [line];
      const any = parts.map(toRequest);
      if (any.some((r) => r === undefined)) {
        problems.push(`${where}: cannot read "${line}" (wanted CONFIG_NAME=y, =n, a number or "text")`);
        return;
      }
      const requests = any.filter((r) => r !== undefined);
      if (requests.length === 1) {
        const only = requests[0] as Request;
        const before = seen.get(only.symbol);
        if (before !== undefined) {
          problems.push(before.value === only.value ? `${where}: CONFIG_${only.symbol} was asked for already in ${before.where}`
            : `${where}: CONFIG_${only.symbol}=${only.value} contradicts =${before.value} in ${before.where}`);
        } else seen.set(only.symbol, { value: only.value, where });
      }
      wishes.push({ where, any: requests });
    });
  }
  if (problems.length > 0) throw new BuildError("config", `${problems.length} bad lines in the kernel fragments:\n  ${problems.join("\n  ")}`, "correct the lines named above");
  return wishes;
}

function toRequest(text: string): Request | undefined {
  const m = REQUEST.exec(text);
  return m === null ? undefined : { symbol: m[1] as string, value: m[2] as string };
}

/** The text for KCONFIG_ALLCONFIG: every request, also all of a one-of (kconfig drops those it does not know). */
export function toAllConfig(wishes: readonly Wish[]): string {
  const line = (r: Request): string => (r.value === "n" ? `# CONFIG_${r.symbol} is not set` : `CONFIG_${r.symbol}=${r.value}`);
  return `${wishes.flatMap((w) => w.any.map(line)).join("\n")}\n`;
}

/** The symbols that a .config sets, by name without CONFIG_; symbols that are off are not in it. */
export function parseConfig(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const m = /^CONFIG_(\w+)=(.*)$/.exec(line.trim());
    if (m !== null && m[2] !== "n") values.set(m[1] as string, m[2] as string);
  }
  return values;
}

/** The wishes that the final configuration does not fulfil. A symbol that is absent is off, however it came to be absent. */
export function findLost(wishes: readonly Wish[], final: ReadonlyMap<string, string>): Lost[] {
  const holds = (r: Request): boolean => (final.get(r.symbol) ?? "n") === r.value;
  return wishes.filter((w) => !w.any.some(holds))
    .map((wish) => ({ wish, got: wish.any.map((r) => final.get(r.symbol) ?? "off") }));
}

/** The allow-missing list: symbol to reason. Throws BuildError "config" for a line without a reason. */
export function parseAllowMissing(name: string, text: string): Map<string, string> {
  const allowed = new Map<string, string>();
  text.split("\n").forEach((raw, index) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) return;
    const m = /^CONFIG_(\w+)\s*:\s*(\S.*)$/.exec(line);
    if (m === null) {
      throw new BuildError("config", `${name}:${index + 1}: "${line}" gives no reason`, "write CONFIG_NAME: why this kernel may lack it");
    }
    allowed.set(m[1] as string, m[2] as string);
  });
  return allowed;
}

/** Splits lost wishes into those the list allows (every symbol of the wish is named there) and those that fail the build. */
export function splitAllowed(lost: readonly Lost[], allowed: ReadonlyMap<string, string>): { readonly failing: Lost[]; readonly excused: Lost[] } {
  const excused = lost.filter((l) => l.wish.any.every((r) => allowed.has(r.symbol)));
  return { failing: lost.filter((l) => !excused.includes(l)), excused };
}

/** The message for lost wishes, one line each; `why` may explain a request (see kconfig-why.ts). */
export function lostMessage(lost: readonly Lost[], why: (request: Request) => string): string {
  return lost.map((l) => {
    const asked = l.wish.any.map((r) => `CONFIG_${r.symbol}=${r.value}`).join(" or ");
    const reasons = l.wish.any.map(why).filter((t) => t !== "");
    return `${asked} (${l.wish.where}): is ${l.got.join(", ")}${reasons.length === 0 ? "" : `; ${reasons.join("; ")}`}`;
  }).join("\n  ");
}
