// What is mounted where, as the kernel tells it. Source: proc_pid_mountinfo(5), mangle() in fs/proc_namespace.c.
import "../../helpers/fake-native.js";
import { describe, expect, it } from "vitest";

const { parseMountInfo, unescapeOctal } = await import("../../../agent/lib/mountinfo.js");

describe("the mount table", () => {
  it("is read with any number of optional fields", () => {
    for (const optional of ["", "master:1 ", "shared:2 master:1 propagate_from:3 ", "unbindable ", "later:x "]) {
      expect(parseMountInfo(`36 35 98:0 /mnt1 /mnt2 rw,noatime ${optional}- ext3 /dev/root rw,errors=continue\n`)).toEqual([{ root: "/mnt1", point: "/mnt2", fstype: "ext3", source: "/dev/root", options: ["rw", "errors=continue"] }]);
    }
  });

  it("has its escapes undone: blanks, line ends, backslashes and number signs, in every path", () => {
    const [it_] = parseMountInfo("36 35 98:0 /a\\040b /c\\134040d\\011e\\012f\\043g rw - fuse.x\\040y /dev/ro\\134ot rw\n");
    expect(it_).toMatchObject({ root: "/a b", point: "/c\\040d\te\nf#g", source: "/dev/ro\\ot" });
    expect(unescapeOctal("\\040\\040-\\040x")).toBe("  - x");
    for (const none of ["a\\9b\\04", "\\", "a\\", "\\08", "plain"]) expect(unescapeOctal(none)).toBe(none);
  });

  it("knows a source that is empty or none, and passes over what is no mount", () => {
    expect(parseMountInfo("1 2 0:1 / /a rw -  tmpfs rw\n1 2 0:1 / /b rw - tmpfs  rw,size=1k\n1 2 0:1 / /c rw - tmpfs none rw\n\nx\n - \n1 2 0:1 / /d rw -\n").map(({ point, fstype, source, options }) => [point, fstype, source, options])).toEqual([
      ["/b", "tmpfs", "", ["rw", "size=1k"]], ["/c", "tmpfs", "none", ["rw"]],
    ]);
  });

  it("may be as long as the kernel lets it be", () => {
    const many = 100_000;
    const found = parseMountInfo(Array.from({ length: many }, (_, i) => `${i} 1 0:1 / /m/${i}\\040 rw,relatime shared:${i} - tmpfs tmpfs rw\n`).join(""));
    expect(found.length).toBe(many);
    expect(found[many - 1]?.point).toBe(`/m/${many - 1} `);
  });
});
