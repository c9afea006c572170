// How help looks: options in groups, defaults as a person writes them, nothing about empty lists.
import type { Command, Option } from "commander";

/** What options are about; those that name none are "other". */
export type Group = "container" | "machine" | "output" | "other";

const TITLES: Readonly<Record<Group, string>> = { container: "Container", machine: "Machine", output: "Output", other: "Other" };
const ORDER: readonly Group[] = ["container", "machine", "output", "other"];

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

const describe = (o: Option): string => {
  const value: unknown = o.defaultValue;
  const nothing = value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
  const text = o.defaultValueDescription ?? (nothing ? undefined : String(value));
  return text === undefined ? o.description : `${o.description} (default: ${text})`;
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
        ...ORDER.flatMap((g) => items(TITLES[g], options.filter((o) => groupOf(o) === g).map((o) => [helper.optionTerm(o), describe(o)] as const))),
      ].join("\n");
    },
  });
};
