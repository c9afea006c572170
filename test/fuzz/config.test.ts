// Hostile configurations for the pure part of the engine: whatever the text, the parser, the checks and the plan either take it or
// throw an AppError that names the field; nothing else comes out, and nothing takes long.
import "../helpers/fake-native.js";
import { COMMAND_LINE } from "../../agent/oci/judgement.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AppError } from "../../agent/lib/errors.js";
import { cgroupPath } from "../../agent/oci/cgroup.js";
import { limitsV1, limitsV2 } from "../../agent/oci/cgroup-limits.js";
import { checkResources } from "../../agent/oci/check-resources.js";
import { checkProcess } from "../../agent/oci/check-process.js";
import { checkSpec } from "../../agent/oci/check.js";
import { deviceLines } from "../../agent/oci/device-lines.js";
import { deviceProgram } from "../../agent/oci/device-rules.js";
import { parseProcess, parseResources, parseSpec } from "../../agent/oci/parse.js";
import { makePlan } from "../../agent/oci/plan.js";
import { filterPlan, seccompFlags } from "../../agent/oci/seccomp.js";
import type { Resources } from "../../agent/oci/spec.js";
import { FULL_CONFIG } from "../helpers/full-config.js";
import { hostile, namesField } from "../helpers/hostile-config.js";

const MACHINE = { has: () => true, isOwn: () => false };
const RUN = { interruptAfterTimeLimit: 8_000, numRuns: 6000, markInterruptAsFailure: false };

/** What is made of resources; what one version of the cgroups cannot do does not keep the other from being tried. */
function resources(r: Resources): void {
  for (const make of [() => checkResources(r, 1), () => checkResources(r, 2), () => limitsV1(r), () => limitsV2(r), () => deviceLines(r.devices ?? [], ""), () => deviceProgram(r.devices ?? [])]) outcome("", make);
}

/** Everything that a command does with a configuration before it touches the machine. */
function takeIn(text: string): void {
  const spec = parseSpec(text);
  checkSpec(spec, MACHINE);
  makePlan(spec, { judgement: COMMAND_LINE, cgroupProcs: [], bundle: "/b" });
  const { seccomp, resources: limits, cgroupsPath } = spec.linux;
  if (seccomp !== undefined) outcome("", () => [filterPlan(seccomp), seccompFlags(seccomp)]);
  if (limits !== undefined) resources(limits);
  outcome("", () => cgroupPath(cgroupsPath, "id"));
}

/** "" when it is taken, else why not; throws for what is no proper refusal. */
function outcome(text: string, read: (text: string) => unknown = takeIn): string {
  try {
    read(text);
    return "";
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.kind !== "invalid" && error.kind !== "unimplemented") throw new Error(`kind ${error.kind}: ${error.message}`);
    if (!namesField(error.message)) throw new Error(`names no field: ${error.message}`);
    return error.message;
  }
}

test("the full configuration is taken", () => {
  expect(outcome(JSON.stringify(FULL_CONFIG))).toBe("");
});

test("a changed configuration is taken, or refused by the name of a field", () => {
  let taken = 0;
  let refused = 0;
  fc.assert(fc.property(hostile(FULL_CONFIG, "fuzz"), ({ text }) => void (outcome(text) === "" ? taken++ : refused++)), RUN);
  expect(taken).toBeGreaterThan(50); // else it is not near enough to what is right
  expect(refused).toBeGreaterThan(50);
});

test("any JSON and any text at all are refused or taken without a crash", () => {
  fc.assert(fc.property(fc.oneof(fc.json({ maxDepth: 6 }), fc.string({ maxLength: 80, unit: "binary" })), (text) => void outcome(text)), { ...RUN, interruptAfterTimeLimit: 3000 });
});

test("a process and resources alone", () => {
  const process = hostile(FULL_CONFIG.process, "fuzz");
  const limits = hostile(FULL_CONFIG.linux.resources, "fuzz");
  fc.assert(fc.property(process, ({ text }) => void outcome(text, (t) => checkProcess(parseProcess(t), "process", COMMAND_LINE))), { ...RUN, interruptAfterTimeLimit: 3000 });
  fc.assert(fc.property(limits, ({ text }) => void outcome(text, (t) => resources(parseResources(t)))), { ...RUN, interruptAfterTimeLimit: 3000 });
});
