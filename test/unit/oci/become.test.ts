// The order between the root file system and the program, over every situation there can be.
import { describe, expect, it } from "vitest";
import { type Become, becomeSteps, type Situation } from "../../../agent/oci/become.js";

const both = [false, true];
const cases: Situation[] = both.flatMap((first) => both.flatMap((terminal) => both.flatMap((startSocket) => both.flatMap((labels) => both.flatMap((startHooks) => both.flatMap((noNewPrivileges) =>
  (["none", "plain", "asks"] as const).flatMap((filter) => (["none", "after filter", "loads filter"] as const).map((stub): Situation => ({ first, terminal, startSocket, labels, startHooks, noNewPrivileges, filter, stub }))))))))).filter(
  // a stub loads only what it may load, and nobody has a start socket, or hooks, but a first process; labels and a stub do not go together
  ({ first, startSocket, labels, startHooks, noNewPrivileges, filter, stub }) =>
    (stub !== "loads filter" || (noNewPrivileges && filter === "plain" && !startHooks)) && (!labels || stub === "none") && (first || (!startSocket && !startHooks)),
);

describe("what a child does before its program", () => {
  it("is, for the plainest", () => {
    const plain: Situation = { first: false, terminal: false, startSocket: false, labels: false, startHooks: false, noNewPrivileges: true, filter: "none", stub: "none" };
    expect(becomeSteps(plain)).toEqual(["close", "environment", "unblock-signals", "user", "program", "end-without-program", "limits", "execute"]);
    expect(becomeSteps({ ...plain, first: true, terminal: true, startSocket: true, filter: "plain", stub: "loads filter" })).toEqual([
      "controlling-terminal", "close", "environment", "unblock-signals", "user", "program", "ready", "stub", "start-socket", "wait-start", "end-without-program", "limits", "execute"]);
    expect(becomeSteps({ ...plain, first: true, filter: "asks", noNewPrivileges: false, stub: "after filter", startHooks: true })).toEqual([
      "close", "environment", "unblock-signals", "stub", "user-with-right", "program", "limits", "filter", "rights", "ready", "wait-start", "start-hooks", "end-without-program", "execute"]);
  });

  it.each(cases.map((one) => [JSON.stringify(one), one] as const))("is in the one order that is safe: %s", (_, one) => {
    const steps = becomeSteps(one);
    const at = (step: Become): number => steps.indexOf(step);
    const before = (a: Become, b: Become): void => {
      if (at(a) >= 0 && at(b) >= 0) expect(at(a), `${a} before ${b}`).toBeLessThan(at(b));
    };
    expect(new Set(steps).size).toBe(steps.length);
    // the program begins with its own ids, rights and limits, behind its filter, and with nothing of the engine's open
    expect(steps.at(-1)).toBe("execute");
    expect(steps.includes("user") !== steps.includes("user-with-right")).toBe(true);
    expect(steps.includes("rights")).toBe(steps.includes("user-with-right"));
    expect(steps.includes("limits")).toBe(true);
    expect(steps.includes("filter")).toBe(one.filter !== "none" && one.stub !== "loads filter");
    expect(at("close")).toBeLessThan(2);
    // nothing that a container may do something about runs with the engine's rights: its hooks, its program's file
    const own = Math.max(at("user"), at("user-with-right"));
    for (const step of ["program", "ready", "wait-start", "start-hooks", "execute"] as const) if (at(step) >= 0) expect(at(step), step).toBeGreaterThan(own);
    before("rights", "ready");
    before("rights", "start-hooks");
    if (one.startHooks && one.filter !== "none") before("filter", "start-hooks");
    // a filter without no_new_privs is loaded while the right to it is there; one that asks somebody while the parent is
    if (one.filter !== "none" && !one.noNewPrivileges) expect(at("filter")).toBeLessThan(at("rights"));
    if (one.filter === "asks") before("filter", "ready");
    // the stub, the labels and the signals need what limits and filter may take
    for (const step of ["stub", "labels", "unblock-signals", "controlling-terminal"] as const) for (const later of ["limits", "filter"] as const) before(step, later);
    before("limits", "filter");
    // who waits to be started is started
    expect(steps.includes("wait-start")).toBe(one.first || one.terminal);
    before("ready", "start-socket");
    before("start-socket", "wait-start");
    before("wait-start", "start-hooks");
  });
});
