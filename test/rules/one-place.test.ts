// What stands in one place. One way to fork, to become a program, to wait for an end and to poll: a second one would leave a step out
// (signals that stay blocked, the raised limit of descriptors, a status that is read otherwise). One reader of the mount table.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const agent = resolve(import.meta.dirname, "../../agent");
const sources = readdirSync(agent, { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile() && e.name.endsWith(".ts") && !e.name.endsWith(".d.ts"))
  .map((e) => relative(agent, join(e.parentPath, e.name)));

/** What only these files may name. The stub's steps (exec-stub.ts) are calls in a list, made where nothing of the engine's is left. */
const ONLY: Readonly<Record<string, readonly string[]>> = {
  "NR.clone\\b": ["lib/fork.ts", "engine/birth/user-namespace.ts", "engine/child/proc-of.ts", "engine/child/last-steps.ts"],
  "NR.wait4\\b": ["sys/wait.ts", "engine/child/proc-of.ts"],
  "NR.ppoll\\b": ["sys/poll.ts", "sys/process.ts", "engine/child/last-steps.ts"],
  "NR.pidfd_getfd\\b": ["sys/process.ts"],
  "\\bexecve\\(\\w": ["sys/process.ts", "lib/fork.ts", "engine/child/become.ts", "engine/child/exec-stub.ts", "init/drivers.ts" /* PID 1, as a disk's init */, "init/handover.ts" /* itself, again */],
  "\\bexecveat\\(\\w": ["sys/process.ts", "engine/child/exec-stub.ts", "cli/protect.ts" /* itself, again */],
  "/self/mountinfo\\b": ["lib/mountinfo.ts"],
  "& 0x7f\\b": ["sys/wait.ts", "rpc/wire/decode.ts", "rpc/wire/encode.ts"],
};

describe("in the agent", () => {
  it.each(Object.entries(ONLY))("%s stands in one place", (pattern, places) => {
    const code = (file: string): string => readFileSync(join(agent, file), "utf8").split("\n").filter((line) => !/^\s*(\/\/|\/?\*)/.test(line)).join("\n");
    expect(sources.filter((file) => new RegExp(pattern).test(code(file)) && !places.includes(file))).toEqual([]);
  });
});
