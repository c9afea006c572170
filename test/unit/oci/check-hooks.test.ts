import { describe, expect, it } from "vitest";
import { checkHooks } from "../../../agent/oci/check-hooks.js";

describe("hooks of a configuration", () => {
  it("may have everything that the specification names", () => {
    expect(() => checkHooks({ prestart: [{ path: "/a" }], poststop: [{ path: "/a", args: ["b", "c"], env: ["A=b"], timeout: 1 }], startContainer: [] })).not.toThrow();
  });
  it("of a kind that nobody knows are none", () => {
    expect(() => checkHooks({ later: [{ path: "relative" }] } as never)).not.toThrow();
  });
  it.each([
    ["a relative path", { createRuntime: [{ path: "/a" }, { path: "a" }] }, 'hooks.createRuntime[1].path: "a" is not an absolute path'],
    ["no path", { prestart: [{ path: "" }] }, "hooks.prestart[0].path"],
    ["a path that ends early", { poststart: [{ path: "/a\0b" }] }, "hooks.poststart[0].path: has a NUL byte"],
    ["an argument that ends early", { poststart: [{ path: "/a", args: ["a", "b\0"] }] }, "hooks.poststart[0].args[1]: has a NUL byte"],
    ["a variable that ends early", { startContainer: [{ path: "/a", env: ["A=\0"] }] }, "hooks.startContainer[0].env[0]: has a NUL byte"],
    ["no time", { createContainer: [{ path: "/a", timeout: 0 }] }, "hooks.createContainer[0].timeout: 0 is not above 0"],
    ["less than no time", { poststop: [{ path: "/a", timeout: -5 }] }, "hooks.poststop[0].timeout: -5 is not above 0"],
  ])("are refused for %s", (_what, hooks, message) => {
    expect(() => checkHooks(hooks)).toThrow(expect.objectContaining({ kind: "invalid", message: expect.stringContaining(message) }));
  });
});
