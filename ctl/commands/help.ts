// How help looks: options in groups, defaults as a person writes them, nothing about empty lists.
import type { Command, Help, Option } from "commander";

/** What options are about; those that name none are "other". */
export type Group = "container" | "machine" | "output" | "other";

const TITLES: Readonly<Record<Group, string>> = { container: "Container", machine: "Machine", output: "Output", other: "Other" };
const ORDER: readonly Group[] = ["container", "machine", "output", "other"];

const KIB = 1024;
const UNITS: readonly (readonly [number, string])[] = [[KIB ** 3, "G"], [KIB ** 2, "M"], [KIB, "K"]];

/** 268435456 as "256M". */
export const sizeText = (bytes: number): string => {
  const [unit, letter] = UNITS.find(([n]) => bytes >= n && bytes % n === 0) ?? [1, ""];
  return `${bytes / unit}${letter}`;
};

/** 60000 as "60 s". */
export const timeText = (ms: number): string => `${ms / 1000} s`;

/** The option of that name, which must be there. */
const option = (command: Command, long: string): Option => {
  const found = command.options.find((o) => o.long === long);
  if (found === undefined) throw new Error(`${command.name()} has no ${long}`);
  return found;
};

/** Says the default of an option in these words. */
export const saysDefault = (command: Command, long: string, text: string): Command => {
  option(command, long).defaultValueDescription = text;
  return command;
};

const describe = (o: Option, helper: Help): string => {
  const silent = o.defaultValueDescription === undefined && (o.defaultValue === "" || (Array.isArray(o.defaultValue) && o.defaultValue.length === 0));
  const plain = o.defaultValueDescription !== undefined || typeof o.defaultValue === "string";
  if (silent || !plain || o.defaultValue === undefined) return silent ? o.description : helper.optionDescription(o);
  return `${o.description} (default: ${o.defaultValueDescription ?? String(o.defaultValue)})`;
};

/** Help with the command's options in groups: `groups` has the long names of each. */
export const grouped = (command: Command, groups: Partial<Record<Group, readonly string[]>>): Command => {
  for (const long of Object.values(groups).flat()) option(command, long);
  const groupOf = (o: Option): Group => ORDER.find((g) => groups[g]?.includes(o.long ?? "") === true) ?? "other";
  return command.configureHelp({
    formatHelp(cmd, helper) {
      const width = helper.padWidth(cmd, helper);
      const items = (title: string, rows: readonly (readonly [string, string])[]): string[] =>
        rows.length === 0 ? [] : [`${title}:`, ...rows.map(([term, text]) => helper.formatItem(term, width, text, helper)), ""];
      const options = helper.visibleOptions(cmd);
      return [
        `Usage: ${helper.commandUsage(cmd)}`, "", helper.boxWrap(helper.commandDescription(cmd), helper.helpWidth ?? 80), "",
        ...items("Arguments", helper.visibleArguments(cmd).map((a) => [helper.argumentTerm(a), helper.argumentDescription(a)] as const)),
        ...ORDER.flatMap((g) => items(TITLES[g], options.filter((o) => groupOf(o) === g).map((o) => [helper.optionTerm(o), describe(o, helper)] as const))),
      ].join("\n");
    },
  });
};
