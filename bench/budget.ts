// Owns what budgets.json means: limits on single numbers or on a number in proportion to another of the same run. Pure: it reads
// no file and prints nothing. A limit whose numbers are not there is "open", never met and never missed.
import { isKey, type Key, type Results } from "./keys.js";

/** `most` or `least` alone is in the key's own unit; with `of` it is a factor on that other key. */
export interface Limit {
  readonly most?: number;
  readonly least?: number;
  readonly of?: Key;
}

export type Budgets = Partial<Record<Key, readonly Limit[]>>;

export interface Verdict {
  readonly key: Key;
  readonly limit: Limit;
  /** The limit in the key's unit; NaN when it is open. */
  readonly bound: number;
  readonly state: "met" | "missed" | "open";
}

const isLimit = (value: unknown): value is Limit => {
  if (typeof value !== "object" || value === null) return false;
  const { most, least, of, ...rest } = value as Record<string, unknown>;
  const one = [most, least].filter((n) => typeof n === "number" && Number.isFinite(n) && n > 0).length === 1;
  return one && [most, least].filter((n) => n !== undefined).length === 1 && Object.keys(rest).length === 0 && (of === undefined || (typeof of === "string" && isKey(of)));
};

/** Reads the parsed budgets.json. Throws TypeError naming the entry that is wrong. */
export const readBudgets = (json: unknown): Budgets => {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new TypeError("budgets: not an object");
  for (const [key, limits] of Object.entries(json)) {
    if (!isKey(key)) throw new TypeError(`budgets: "${key}" is nothing that is measured`);
    if (!Array.isArray(limits) || !limits.every(isLimit)) {
      throw new TypeError(`budgets: "${key}" must be a list of {most | least: number, of?: key}`);
    }
  }
  return json as Budgets;
};

/** Every limit held against the results, in the order of the budgets. */
export const judge = (results: Results, budgets: Budgets): Verdict[] =>
  Object.entries(budgets).flatMap(([name, limits]) =>
    limits.map((limit) => {
      const key = name as Key;
      const value = results[key];
      const base = limit.of === undefined ? 1 : results[limit.of];
      const factor = limit.most ?? limit.least ?? NaN;
      const bound = base === undefined ? NaN : factor * base;
      if (value === undefined || Number.isNaN(bound)) return { key, limit, bound: NaN, state: "open" as const };
      return { key, limit, bound, state: (limit.most === undefined ? value >= bound : value <= bound) ? ("met" as const) : ("missed" as const) };
    }),
  );
