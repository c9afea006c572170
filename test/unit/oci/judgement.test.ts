import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { AGENT, COMMAND_LINE } from "../../../agent/oci/judgement.js";

it("the table of differences in docs/oci.md is the one in the code, and both are frozen", () => {
  const rows = readFileSync("docs/oci.md", "utf8").split("\n").map((line) => line.split("|").map((cell) => cell.trim())).filter((cells) => cells.length === 6 && /^`\w+`$/.test(cells[2] ?? ""));
  const told = rows.map(([, , name = "", command = "", agent = ""]) => [name.slice(1, -1), command.split(":")[0], agent.split(":")[0]]);
  expect(told).toEqual(Object.keys(AGENT).map((name) => [name, COMMAND_LINE[name as keyof typeof AGENT], AGENT[name as keyof typeof AGENT]]));
  expect(Object.isFrozen(AGENT) && Object.isFrozen(COMMAND_LINE)).toBe(true);
});

it("every field is a difference", () => {
  expect(Object.keys(AGENT).filter((name) => AGENT[name as keyof typeof AGENT] === COMMAND_LINE[name as keyof typeof AGENT])).toEqual([]);
});
