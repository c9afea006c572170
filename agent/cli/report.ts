// state and list: what is known about containers, as JSON or as a table.
import { attempt, messageOf } from "../lib/errors.js";
import { type Command, type Context, FORMAT, idOf, invalid, print, say } from "./context.js";
import { known, look } from "./load.js";
import type { Options } from "./options.js";
import { find, ids, stateRecord } from "./store.js";

function state(context: Context, options: Options): number {
  const { saved, status } = known(context, idOf(options), false);
  print(1, `${JSON.stringify(stateRecord(saved, status), undefined, 2)}\n`);
  return 0;
}

/** Rows of words under each other. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length)) + 3);
  return rows.map((row) => `${row.map((word, i) => (i === row.length - 1 ? word : word.padEnd(widths[i] as number))).join(" ")}\n`).join("");
}

function list(context: Context, options: Options): number {
  const format = options.get("format") ?? "table";
  if (format !== "table" && format !== "json") invalid(`--format: "${format}" is not table or json`);
  const records: { readonly [key: string]: unknown }[] = [];
  for (const id of attempt(`list ${context.root}`, () => ids(context.root, !context.rootNamed))) {
    try {
      const { saved, status } = look(find(context.root, id));
      records.push(stateRecord(saved, status));
    } catch (error) { // deleted meanwhile, or not a container's folder
      if (context.debug) say(context, "debug", messageOf(error));
    }
  }
  if (options.has("quiet")) print(1, records.map((r) => `${String(r["id"])}\n`).join(""));
  else if (format === "json") print(1, `${JSON.stringify(records.length === 0 ? null : records)}\n`);
  else print(1, table([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], ...records.map((r) => ["id", "pid", "status", "bundle", "created", "owner"].map((key) => (key === "owner" && r[key] === "0" ? "root" : String(r[key]))))]));
  return 0;
}

export const commands = {
  state: { about: "print a container's state as JSON", usage: "ID", least: 1, most: 1, options: {}, run: state },
  list: { about: "list the containers", usage: "", least: 0, most: 0, options: { format: FORMAT, quiet: ["switch", "ids only", "q"] }, run: list },
} as const satisfies { readonly [name: string]: Command };
