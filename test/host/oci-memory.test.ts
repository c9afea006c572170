// A child that dies before its program runs: the group's own count of kills says whether it was for want of memory, not the limit's size.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles, type Config } from "../helpers/oci-bundle.js";
import { errorsIn } from "../helpers/said.js";
import { suite } from "../helpers/suite.js";

const MIB = 1 << 20;

suite("a child that dies before its program runs", { needs: ["agent", "cgroup v1"] }, () => {
  let box: Bundles;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());

  /** What `run` says of a container with so much memory, whose folder /full is copied to a tmpfs before its program runs. */
  const told = (limit: number, change: (c: Config, bundle: () => string) => void = () => undefined): string[] => {
    let made = "";
    const bundle = (made = box.make("true", (c) => {
      c.linux["resources"] = { memory: { limit } };
      c.mounts.push({ destination: "/full", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "size=64m"] });
      change(c, () => made);
    }));
    mkdirSync(join(bundle, "rootfs/full"));
    writeFileSync(join(bundle, "rootfs/full/file"), Buffer.alloc(24 * MIB, 1));
    return errorsIn(box.command(["run", "--bundle", bundle, box.id()]).stderr).map((text) => text.replace(/oci\d+n\d+/, "ID"));
  };

  it("for want of memory is told by the limit, however large that is", () => {
    expect(told(16 * MIB)).toEqual([`create container ID: linux.resources.memory.limit: the child died before it was ready: ${16 * MIB} bytes are too few for it`]);
    expect(told(64 * MIB)).toEqual([]);
  });
  it("for another reason is not, however small that is", () => {
    const killer = join(box.folder, "killer");
    writeFileSync(killer, `#!/bin/sh\nkill -9 $(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')\nsleep 1000 <&- >&- 2>&- &\n`, { mode: 0o755 });
    const said = told(3 * MIB, (c) => {
      c.mounts.pop();
      c["hooks"] = { createRuntime: [{ path: killer }] };
    });
    expect(said).toEqual(["create container ID: the child died before it was ready"]);
  });
});
