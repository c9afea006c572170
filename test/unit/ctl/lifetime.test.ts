// Every way out of a host program: it says so when its work was not done, and takes away what it made.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tarball } from "../../helpers/tarball.js";
import { projectRoot } from "../../../tools/places.js";

const LOADER = join(projectRoot, "node_modules/tsx/dist/loader.mjs");
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "life-"));
  mkdirSync(join(home, "made"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

interface End {
  code: number | null;
  said: string;
  left: boolean;
}

/** Run a program whose work is `body`; a line on its output is answered with `signal`. */
const program = (body: string, signal?: NodeJS.Signals): Promise<End> => {
  const file = join(home, "program.mts");
  writeFileSync(file, `import { now, removeAtEnd, wholeProcess } from ${JSON.stringify(join(projectRoot, "ctl/lifetime.ts"))};
removeAtEnd(${JSON.stringify(join(home, "made"))});
now("testing");
wholeProcess(async () => { ${body} }, { failed: 125, say: (line) => process.stderr.write(line + "\\n"), text: String });
`);
  const child = spawn(process.execPath, ["--import", LOADER, file], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (piece: Buffer) => (said += piece.toString()));
  child.stdout.once("data", () => signal !== undefined && child.kill(signal));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, said, left: existsSync(join(home, "made")) })));
};

describe("a whole process", () => {
  it("ends with the status of its work", async () => expect(await program("return 7;")).toEqual({ code: 7, said: "", left: false }));
  it("says so when nothing is left to happen and the work is not done", async () => {
    expect(await program("return await new Promise(() => undefined);")).toEqual({ code: 125, said: "ended before it was done, while testing: this is a fault of the program\n", left: false });
  });
  it.each([
    ["an error of the work", "throw new Error('oops');"], ["an error in a callback", "setTimeout(() => { throw new Error('oops'); }, 1); return await new Promise(() => undefined);"],
    ["a promise nobody catches", "void Promise.reject(new Error('oops')); return await new Promise((resolve) => setTimeout(resolve, 60_000));"],
  ])("says %s and cleans up", async (_what, body) => {
    expect(await program(body)).toEqual({ code: 125, said: "Error: oops (while testing)\n", left: false });
  });
  it.each([["SIGHUP", 129], ["SIGINT", 130], ["SIGQUIT", 131], ["SIGTERM", 143]] as const)("cleans up after %s", async (signal, code) => {
    expect(await program("console.log('up'); return await new Promise((resolve) => setTimeout(resolve, 60_000));", signal)).toEqual({ code, said: "", left: false });
  });
  it("cleans up when something calls process.exit", async () => expect(await program("process.exit(3);")).toEqual({ code: 3, said: "", left: false }));
});

describe("katactl run, while the image is made ready", () => {
  it.each([["SIGINT"], ["SIGTERM"], ["SIGHUP"]] as const)("leaves nothing after %s, neither files nor programs", async (signal) => {
    // A tool that never ends, in place of the one that makes the disk.
    const bin = join(home, "bin");
    mkdirSync(bin);
    mkdirSync(join(home, "tmp"));
    writeFileSync(join(bin, "sqfstar"), '#!/bin/sh\necho $$ >&2\necho $$ > "$TOOL_PID.new" && mv "$TOOL_PID.new" "$TOOL_PID"\nexec sleep 1000\n', { mode: 0o755 });
    writeFileSync(join(home, "image.tar"), await tarball([{ name: "bin/sh", data: "#!" }]));
    const pidFile = join(home, "pid");
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`, TMPDIR: join(home, "tmp"), KATACTL_STATE: join(home, "state"), TOOL_PID: pidFile };
    const child = spawn(join(projectRoot, "katactl"), ["run", join(home, "image.tar"), "--", "x"], { env, stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    await Promise.race([expect.poll(() => existsSync(pidFile), { timeout: 120_000, interval: 10 }).toBe(true), ended]);
    expect(readdirSync(join(home, "tmp")).filter((name) => name.startsWith("katactl"))).toHaveLength(1);
    child.kill(signal);
    expect(await ended).toBe(130);
    expect(readdirSync(join(home, "tmp")).filter((name) => name.startsWith("katactl"))).toEqual([]);
    await expect.poll(() => existsSync(`/proc/${readFileSync(pidFile, "utf8").trim()}`), { timeout: 120_000, interval: 10 }).toBe(false);
  });
});
