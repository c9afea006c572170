// What the C host takes as an argument of a system call: a program of its own is built for it, plainly and with sanitizers where the
// twin has been made. Anything that is no whole number of 64 bits throws: passed as 0, it could mean another process, file or length.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { BINARY, SANITISED } from "../helpers/private-agent.js";
import { having, when } from "../helpers/suite.js";

const WRITE = process.arch === "arm64" ? 64 : 1;
const GETPID = process.arch === "arm64" ? 172 : 39;
const FCNTL = process.arch === "arm64" ? 25 : 72; // of a bad descriptor: EBADF whatever the rest is

/** Expressions that pass, and those that throw. */
const GOOD = ["0", "-0", "-1", "2 ** 31", "2 ** 53", "2 ** 63", "2 ** 64", "-(2 ** 63)", "null", "undefined", "'text'", "new Uint8Array(1)", "new Uint8Array(0)", "new ArrayBuffer(0)"];
const BAD = ["0.5", "-0.5", "NaN", "Infinity", "-Infinity", "2 ** 65", "-(2 ** 64)", "1e-320", "5n", "-1n", "2n ** 64n", "-(2n ** 63n) - 1n", "true", "{}", "[]", "Symbol()", "() => 1", "new DataView(new ArrayBuffer(4))", "new Map()"];

const program = `
declare const native: { syscall(...all: unknown[]): number; utf8Encode(t: string): Uint8Array; utf8Decode(b: Uint8Array, s?: unknown, e?: unknown): string };
const said: Record<string, string> = {};
const attempt = (name: string, make: () => unknown): void => {
  try { said[name] = String(make()); } catch (e) { said[name] = (e as Error).name; }
};
${[...GOOD, ...BAD].map((e) => `attempt(${JSON.stringify(e)}, () => native.syscall(${FCNTL}, -1, ${e}));`).join("\n")}
${BAD.map((e) => `attempt("nr " + ${JSON.stringify(e)}, () => native.syscall(${e}));`).join("\n")}
${["0.5", "-1", "2 ** 64", "NaN", "3"].map((e) => `attempt("decode " + ${JSON.stringify(e)}, () => native.utf8Decode(new Uint8Array([65, 66]), ${e}));`).join("\n")}
attempt("pid", () => native.syscall(${GETPID}) > 0);
const text = native.utf8Encode(JSON.stringify(said));
native.syscall(${WRITE}, 1, text, text.length);
native.syscall(${process.arch === "arm64" ? 94 : 231}, 0);
`;

describe.each([["plainly", BINARY, []], ["with sanitizers", SANITISED, ["--debug"]]] as const)("arguments of a system call, built %s", (_how, binary, flags) => {
  having(when(existsSync(binary), `needs ${binary}`))("are whole numbers, texts and buffers, and nothing else", () => {
    const dir = mkdtempSync(join(tmpdir(), "kata-native-"));
    try {
      const entry = join(dir, "main.ts");
      writeFileSync(entry, program);
      execFileSync("node", ["--import", "tsx", "image-builder/main.ts", "agent", ...flags, "--entry", entry, "--output", join(dir, "main")], { stdio: "pipe" });
      const said = JSON.parse(execFileSync(join(dir, "main"), { encoding: "utf8" })) as Record<string, string>;
      expect(GOOD.map((e) => [e, said[e]])).toEqual(GOOD.map((e) => [e, "-9"]));
      for (const e of BAD) expect([e, said[e], said[`nr ${e}`]]).toEqual([e, expect.stringMatching(/^(Range|Type)Error$/), expect.stringMatching(/^(Range|Type)Error$/)]);
      for (const e of ["0.5", "-1", "2 ** 64", "NaN", "3"]) expect(said[`decode ${e}`], e).toBe("RangeError");
      expect(said["pid"]).toBe("true");
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
