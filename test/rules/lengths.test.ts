// A number that is cut to 8 or 16 bits is another number: a length is then a way to smuggle. Such fields are written by sys/struct.ts,
// which refuses what does not fit, and by a few others, each with its reason here.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect, it } from "vitest";

const agent = join(import.meta.dirname, "../../agent");
const sources = readdirSync(agent, { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile() && e.name.endsWith(".ts") && !e.name.endsWith(".d.ts"))
  .map((e) => join(e.parentPath, e.name));

const ALLOWED: { readonly [file: string]: string } = {
  "sys/struct.ts": "checks every value",
  "lib/rtnl-message.ts": "put() checks length and type",
  "sys/bpf.ts": "installSeccomp() checks the number of instructions",
  "sys/tty.ts": "a window's size, limited",
  "lib/loopback.ts": "flags of the kernel, one bit added",
  "engine/confine/seccomp.ts": "instructions of the agent's own",
  "engine/child/proc-of.ts": "the same",
};

it("no number is cut to 8 or 16 bits without a check", () => {
  const cutting = sources.filter((f) => /set(Uint|Int)(8|16)\(|new (Uint16|Int16|Int8)Array\(\[/.test(readFileSync(f, "utf8"))).map((f) => relative(agent, f));
  expect(cutting.filter((f) => !Object.hasOwn(ALLOWED, f))).toEqual([]);
});
