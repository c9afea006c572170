// Owns how the numbers look to a reader: one line for each key, with its limits and whether they hold. Pure.
import type { Verdict } from "./budget.js";
import { KEYS, type Key, type Results, type Unit } from "./keys.js";

/** A number with as many digits as its size deserves: 812345, 45.12, 0.713. */
export const shown = (value: number): string => {
  if (Number.isInteger(value) || Math.abs(value) >= 10000) return value.toFixed(0);
  return Math.abs(value) >= 100 ? value.toFixed(1) : Math.abs(value) >= 1 ? value.toFixed(2) : value.toFixed(3);
};

const limitText = (v: Verdict, unit: Unit): string => {
  const sign = v.limit.most === undefined ? ">=" : "<=";
  const factor = v.limit.most ?? v.limit.least ?? 0;
  const rule = v.limit.of === undefined ? `${sign} ${shown(factor)}` : `${sign} ${factor} x ${v.limit.of}`;
  const bound = v.limit.of === undefined || v.state === "open" ? "" : ` (${shown(v.bound)} ${unit})`;
  return `${rule}${bound} ${v.state === "missed" ? "MISSED" : v.state}`;
};

/** The lines of the table; `why` says for each key without a number why there is none. */
export const table = (results: Results, verdicts: readonly Verdict[], why: Readonly<Partial<Record<Key, string>>>): string[] => {
  const rows = (Object.keys(KEYS) as Key[]).filter((key) => results[key] !== undefined || why[key] !== undefined).map((key) => {
    const value = results[key];
    const limits = verdicts.filter((v) => v.key === key).map((v) => limitText(v, KEYS[key].unit));
    return [key, value === undefined ? "-" : shown(value), KEYS[key].unit, value === undefined ? `skipped: ${why[key] ?? ""}` : limits.join("; "), KEYS[key].text] as const;
  });
  const wide = [0, 1, 2].map((i) => Math.max(...rows.map((r) => r[i]?.length ?? 0)));
  return rows.map(([key, value, unit, limits, text]) =>
    `${key.padEnd(wide[0] ?? 0)}  ${value.padStart(wide[1] ?? 0)} ${unit.padEnd(wide[2] ?? 0)}  ${text}${limits === "" ? "" : `\n${" ".repeat((wide[0] ?? 0) + 2)}${limits}`}`,
  );
};
