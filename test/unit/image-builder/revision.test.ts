// Which commit a binary says it is made of.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { revision } from "../../../image-builder/agent/revision.js";
import { context, removeTemps, temp } from "./stage.js";

afterEach(removeTemps);

let root = "";
const git = (...args: string[]): string =>
  execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main", "-C", root, ...args], { encoding: "utf8" }).trim();
const commit = (message: string): string => {
  git("add", "-A");
  git("commit", "-q", "-m", message);
  return git("rev-parse", "HEAD").slice(0, 12);
};
const said = async (at = root): Promise<string> => (await revision({ ...context(), root: at })).commit;

beforeEach(() => {
  root = temp();
  for (const dir of ["agent", "docs", "tools"]) mkdirSync(join(root, dir));
  writeFileSync(join(root, "package.json"), '{ "version": "1.2.3" }');
  writeFileSync(join(root, "agent/a.ts"), "1");
  writeFileSync(join(root, "tools/commit"), "$Format:%H$\n");
});

describe("the commit of a binary", () => {
  it("is the last one that changed what it is made of, and tells what has not been committed", async () => {
    git("init", "-q");
    const first = commit("first");
    expect(await revision({ ...context(), root })).toEqual({ version: "1.2.3", commit: first });
    writeFileSync(join(root, "docs/page"), "x");
    expect(await said()).toBe(first);
    commit("a page");
    expect(await said()).toBe(first);
    writeFileSync(join(root, "agent/a.ts"), "2");
    expect(await said()).toBe(`${first}-dirty`);
    const second = commit("second");
    expect(await said()).toBe(second);
    writeFileSync(join(root, "agent/new.ts"), "2");
    expect(await said()).toMatch(/^[0-9a-f]{12}-dirty$/);
  });

  it("comes with an archive, and is unknown without one, or in a folder of somebody else's repository", async () => {
    expect(await said()).toBe("unknown");
    writeFileSync(join(root, "tools/commit"), `${"0123456789".repeat(4)}\n`);
    expect(await said()).toBe("012345678901");
    writeFileSync(join(root, "tools/commit"), "$Format:%H$\n");
    git("init", "-q");
    commit("first");
    mkdirSync(join(root, "inner"));
    for (const name of ["agent", "tools", "package.json"]) cpSync(join(root, name), join(root, "inner", name), { recursive: true });
    expect(await said(join(root, "inner"))).toBe("unknown");
    rmSync(join(root, "inner"), { recursive: true });
  });
});
