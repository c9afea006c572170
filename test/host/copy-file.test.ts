// CopyFile against a real kernel: what lands where, with which mode and owner, and that nothing can land anywhere else.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failure, startPrivateAgent, type PrivateAgent } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

const ROOT = "/run/kata-containers/shared/containers";
const FILE = 0o100000;
const DIR = 0o040000;
const LINK = 0o120000;

suite("CopyFile", { needs: ["agent"] }, () => {
  let agent: PrivateAgent;
  const copy = (path: string, fields: object): Promise<unknown> =>
    agent.client.call("CopyFile", { path: path.startsWith("/") ? path : `${ROOT}/${path}`, dirMode: 0o751, uid: 0, gid: 0, ...fields } as never);
  const file = (path: string, text: string, fields: object = {}): Promise<unknown> =>
    copy(path, { fileMode: FILE | 0o644, fileSize: Buffer.byteLength(text), data: Buffer.from(text), ...fields });
  const stat = (path: string): string => agent.inside(`stat -c '%F %a %u %g' ${ROOT}/${path}`);
  const cat = (path: string): string => agent.inside(`cat ${ROOT}/${path}`);

  beforeAll(async () => {
    agent = await startPrivateAgent();
  });
  afterAll(() => agent?.stop());
  beforeEach(() => {
    agent.inside(`rm -rf ${ROOT}; mkdir -p ${ROOT}; rm -rf /run/outside; mkdir /run/outside`);
  });

  it("makes a file with its parents, mode and owner, set-id bits too", async () => {
    await file("a/b/c.txt", "hello", { fileMode: FILE | 0o4755, uid: 12, gid: 34 });
    expect(cat("a/b/c.txt")).toBe("hello");
    expect(stat("a/b/c.txt")).toBe("regular file 4755 12 34");
    expect(stat("a")).toBe("directory 751 0 0");
    expect(stat("a/b")).toBe("directory 751 12 34");
    expect(agent.inside(`ls -A ${ROOT}/a/b`)).toBe("c.txt");
  });

  it("shows a file only when its last piece has come; pieces of two files do not mix", async () => {
    const part = (name: string, text: string, offset: number): Promise<unknown> => copy(name, { fileMode: FILE | 0o600, fileSize: 6, offset, data: Buffer.from(text) });
    await part("x.txt", "one", 0);
    await part("x.cfg", "ONE", 0);
    expect(agent.inside(`ls ${ROOT}`)).toBe("");
    await part("x.txt", "two", 3);
    await part("x.cfg", "TWO", 3);
    expect(cat("x.txt") + cat("x.cfg")).toBe("onetwoONETWO");
    await part("x.txt", "new", 0);
    expect(cat("x.txt")).toBe("onetwo");
    await part("x.txt", "er!", 3);
    expect(cat("x.txt")).toBe("newer!");
    expect(agent.inside(`ls -A ${ROOT} | sort | tr '\\n' ' '`)).toBe("x.cfg x.txt");
  });

  it("makes an empty file, and refuses more bytes than the file has", async () => {
    await file("empty", "");
    expect(stat("empty")).toMatch(/^regular empty file 644/);
    expect(await failure(copy("long", { fileMode: FILE | 0o600, fileSize: 2, data: Buffer.from("abc") }))).toContain("beyond the file's size of 2");
  });

  it("replaces a file by a folder, a folder by a file, and a link by itself", async () => {
    await file("t", "text");
    await copy("t", { fileMode: DIR | 0o2750, uid: 1, gid: 2 });
    expect(stat("t")).toBe("directory 2750 1 2");
    await file("t/in", "x");
    await copy("t", { fileMode: DIR | 0o700 });
    expect(cat("t/in")).toBe("x");
    await file("t", "again");
    expect(cat("t")).toBe("again");
    agent.inside(`ln -s /run/outside/victim ${ROOT}/l; echo safe > /run/outside/victim`);
    await file("l", "mine");
    expect(stat("l")).toMatch(/^regular file/);
    expect(agent.inside("cat /run/outside/victim")).toBe("safe");
  });

  it("makes links that may point anywhere", async () => {
    await copy("l", { fileMode: LINK | 0o777, data: Buffer.from("/etc/../x y"), uid: 5, gid: 6 });
    expect(agent.inside(`readlink ${ROOT}/l`)).toBe("/etc/../x y");
    expect(agent.inside(`stat -c '%u %g' ${ROOT}/l`)).toBe("5 6");
    await copy("l", { fileMode: LINK | 0o777, data: Buffer.from("other") });
    expect(agent.inside(`readlink ${ROOT}/l`)).toBe("other");
  });

  it.each([
    ["/etc/passwd2", "prefix from /etc/passwd2"],
    [`${ROOT}X/file`, `prefix from ${ROOT}X/file`],
    [ROOT, "prefix from"],
    [`${ROOT}/..`, "names no file below"],
    [`${ROOT}/../../outside/f`, "EXDEV"],
    [`${ROOT}/a/../../../outside/f`, "EXDEV"],
  ])("refuses %s", async (path, text) => {
    expect(await failure(file(path, "evil"))).toContain(text);
    expect(agent.inside("ls -A /run/outside")).toBe("");
  });

  it("does not follow a link on the way out of the folder", async () => {
    agent.inside(`ln -s /run/outside ${ROOT}/door; ln -s ../../../run/outside ${ROOT}/door2`);
    expect(await failure(file("door/f", "evil"))).toContain("EXDEV");
    expect(await failure(file("door2/f", "evil"))).toContain("EXDEV");
    expect(await failure(copy("door/d", { fileMode: DIR | 0o755 }))).toContain("EXDEV");
    expect(await failure(copy("door/l", { fileMode: LINK, data: Buffer.from("x") }))).toContain("EXDEV");
    expect(agent.inside("ls -A /run/outside")).toBe("");
  });

  it("follows a link that stays inside", async () => {
    agent.inside(`mkdir ${ROOT}/real; ln -s real ${ROOT}/alias`);
    await file("alias/f", "in");
    expect(cat("real/f")).toBe("in");
  });

  it("keeps owner and mode of the folders that were there, the file's own among them, and of the root", async () => {
    agent.inside(`mkdir -p ${ROOT}/v/w; chmod 2701 ${ROOT}/v/w; chown 7:8 ${ROOT}/v/w; chmod 705 ${ROOT}; chown 9:9 ${ROOT}`);
    await file("v/w/f", "x", { uid: 1, gid: 2 });
    await file("top", "x", { uid: 1, gid: 2 });
    expect(stat("v/w")).toBe("directory 2701 7 8");
    expect(agent.inside(`stat -c '%a %u %g' ${ROOT}`)).toBe("705 9 9");
    agent.inside(`chmod 755 ${ROOT}; chown 0:0 ${ROOT}`);
  });

  // What a container can do in a volume that it has: everything there may be of its making, at any moment.
  describe("in a volume that a container writes to", () => {
    beforeEach(() => {
      agent.inside(`mkdir ${ROOT}/mine ${ROOT}/theirs; echo safe > ${ROOT}/theirs/f; chmod 600 ${ROOT}/theirs/f`);
    });
    const theirs = (): string => agent.inside(`cd ${ROOT}/theirs; ls -A; cat f; stat -c '%a %u %g' . f`);
    const UNTOUCHED = "f\nsafe\n755 0 0\n600 0 0";

    it.each(["../theirs", `${ROOT}/theirs`, "../mine/../theirs", "up", "/proc/self/root/run"])("a link to %s leads nowhere", async (to) => {
      agent.inside(`ln -s .. ${ROOT}/mine/up; ln -s ${to} ${ROOT}/mine/out`);
      const way = to === "up" ? "mine/out/theirs" : "mine/out";
      for (const fields of [{}, { fileMode: DIR | 0o777, uid: 5 }, { fileMode: LINK, data: Buffer.from("x") }]) expect(await failure(file(`${way}/f`, "evil", fields))).toMatch(/EXDEV|ELOOP/);
      expect(await failure(file(`${way}/new/f`, "evil"))).toMatch(/EXDEV|ELOOP/);
      expect(theirs()).toBe(UNTOUCHED);
    });

    it("a link to another place in it is followed", async () => {
      await file("mine/..2024/key", "one");
      await copy("mine/..data", { fileMode: LINK, data: Buffer.from("..2024") });
      await file("mine/..data/key2", "two");
      expect(cat("mine/..2024/key2")).toBe("two");
    });

    const part = (text: string, offset: number): Promise<unknown> => copy("mine/f", { fileMode: FILE | 0o4711, uid: 3, gid: 4, fileSize: 6, offset, data: Buffer.from(text) });
    const temporary = (): string => agent.inside(`cd ${ROOT}/mine; ls -A | grep kata-copy`);

    it.each([
      ["a link", "ln -s ../theirs/f"], ["a hard link", "ln ../theirs/f"], ["a pipe", "mkfifo"], ["a folder", "mkdir"], ["a full folder", "cp -r /run/outside"], ["a device", "mknod -m 666"],
    ])("%s under the name of the part that has come is not written to", async (what, make) => {
      agent.inside("mkdir -p /run/outside/a/b; echo x > /run/outside/a/b/c");
      const plant = (name: string): string => agent.inside(`cd ${ROOT}/mine; rm -rf ${name}; ${make} ${name}${what === "a device" ? " c 1 3" : ""}`);
      await part("one", 0);
      const name = temporary();
      plant(name);
      expect(await failure(part("two", 3))).toMatch(/replaced by somebody else/);
      expect(theirs()).toBe(UNTOUCHED);
      await part("one", 0); // it is begun anew, whatever lies there
      await part("two", 3);
      expect(cat("mine/f")).toBe("onetwo");
      expect(stat("mine/f")).toBe("regular file 4711 3 4");
      plant(name);
      await copy("mine/l", { fileMode: LINK, data: Buffer.from("to") });
      expect(theirs()).toBe(UNTOUCHED);
    });

    it.each([["a pipe", "mkfifo"], ["a folder", "mkdir"], ["a hard link", "ln ../theirs/f"], ["a link", "ln -s ../theirs/f"]])("%s where the file belongs is replaced", async (_, make) => {
      agent.inside(`cd ${ROOT}/mine; ${make} f`);
      await part("onetwo", 0);
      expect(stat("mine/f")).toBe("regular file 4711 3 4");
      expect(theirs()).toBe(UNTOUCHED);
    });

    it("takes the pieces of a file in the order in which they were sent, together with those of others", async () => {
      const pieces = Array.from({ length: 20 }, (_, i) => i);
      await Promise.all(pieces.flatMap((i) => ["a", "b"].map((name) => copy(`mine/${name}`, { fileMode: FILE | 0o600, fileSize: 40, offset: 2 * i, data: Buffer.from(String(10 + i)) }))));
      const whole = pieces.map((i) => String(10 + i)).join("");
      expect([cat("mine/a"), cat("mine/b"), temporaryLeft()]).toEqual([whole, whole, ""]);
    });
    const temporaryLeft = (): string => agent.inside(`ls -A ${ROOT}/mine | grep kata-copy || true`);

    it("refuses a file that the file system has no room for", async () => {
      expect(await failure(copy("mine/big", { fileMode: FILE | 0o600, fileSize: 2 ** 50, offset: 2 ** 50 - 1, data: Buffer.from("x") }))).toContain("has room for");
      expect(await failure(copy("mine/big", { fileMode: FILE | 0o600, fileSize: 9, offset: -1, data: Buffer.from("x") }))).toContain("beyond the file's size");
      expect(temporaryLeft()).toBe("");
    });
  });

  it("refuses other types, and leaks no descriptor", async () => {
    const open = (): number => Number(agent.inside(`ls /proc/${agent.pid}/fd | wc -l`));
    await file("w/arm", "up");
    const before = open();
    expect(await failure(copy("fifo", { fileMode: 0o010644 }))).toContain("only files, folders and links can be copied");
    for (let i = 0; i < 5; i++) {
      await file(`d${i}/e/f`, "x");
      await failure(file("w/arm/below-a-file", "x"));
      await failure(file("../x", "x"));
    }
    expect(open()).toBe(before);
  });
});
