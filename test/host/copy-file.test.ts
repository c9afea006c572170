// CopyFile against a real kernel: what lands where, with which mode and owner, and that nothing can land anywhere else.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failure, startPrivateAgent, whyNot, type PrivateAgent } from "../helpers/private-agent.js";

const why = whyNot();
if (why !== undefined) console.warn(`skipped: ${why}`);

const ROOT = "/run/kata-containers/shared/containers";
const FILE = 0o100000;
const DIR = 0o040000;
const LINK = 0o120000;

describe.skipIf(why !== undefined)("CopyFile", () => {
  let agent: PrivateAgent;
  const copy = (path: string, fields: object): Promise<unknown> =>
    agent.client.call("CopyFile", { path: path.startsWith("/") ? path : `${ROOT}/${path}`, dir_mode: 0o751, uid: 0, gid: 0, ...fields } as never);
  const file = (path: string, text: string, fields: object = {}): Promise<unknown> =>
    copy(path, { file_mode: FILE | 0o644, file_size: Buffer.byteLength(text), data: Buffer.from(text), ...fields });
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
    await file("a/b/c.txt", "hello", { file_mode: FILE | 0o4755, uid: 12, gid: 34 });
    expect(cat("a/b/c.txt")).toBe("hello");
    expect(stat("a/b/c.txt")).toBe("regular file 4755 12 34");
    expect(stat("a")).toBe("directory 751 0 0");
    expect(stat("a/b")).toBe("directory 751 12 34");
    expect(agent.inside(`ls -A ${ROOT}/a/b`)).toBe("c.txt");
  });

  it("shows a file only when its last piece has come; pieces of two files do not mix", async () => {
    const part = (name: string, text: string, offset: number): Promise<unknown> => copy(name, { file_mode: FILE | 0o600, file_size: 6, offset, data: Buffer.from(text) });
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
    expect(await failure(copy("long", { file_mode: FILE | 0o600, file_size: 2, data: Buffer.from("abc") }))).toContain("beyond the file's size of 2");
  });

  it("replaces a file by a folder, a folder by a file, and a link by itself", async () => {
    await file("t", "text");
    await copy("t", { file_mode: DIR | 0o2750, uid: 1, gid: 2 });
    expect(stat("t")).toBe("directory 2750 1 2");
    await file("t/in", "x");
    await copy("t", { file_mode: DIR | 0o700 });
    expect(cat("t/in")).toBe("x");
    await file("t", "again");
    expect(cat("t")).toBe("again");
    agent.inside(`ln -s /run/outside/victim ${ROOT}/l; echo safe > /run/outside/victim`);
    await file("l", "mine");
    expect(stat("l")).toMatch(/^regular file/);
    expect(agent.inside("cat /run/outside/victim")).toBe("safe");
  });

  it("makes links that may point anywhere", async () => {
    await copy("l", { file_mode: LINK | 0o777, data: Buffer.from("/etc/../x y"), uid: 5, gid: 6 });
    expect(agent.inside(`readlink ${ROOT}/l`)).toBe("/etc/../x y");
    expect(agent.inside(`stat -c '%u %g' ${ROOT}/l`)).toBe("5 6");
    await copy("l", { file_mode: LINK | 0o777, data: Buffer.from("other") });
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
    expect(await failure(copy("door/d", { file_mode: DIR | 0o755 }))).toContain("EXDEV");
    expect(await failure(copy("door/l", { file_mode: LINK, data: Buffer.from("x") }))).toContain("EXDEV");
    expect(agent.inside("ls -A /run/outside")).toBe("");
  });

  it("follows a link that stays inside", async () => {
    agent.inside(`mkdir ${ROOT}/real; ln -s real ${ROOT}/alias`);
    await file("alias/f", "in");
    expect(cat("real/f")).toBe("in");
  });

  it("refuses other types, and leaks no descriptor", async () => {
    const open = (): number => Number(agent.inside(`ls /proc/${agent.pid}/fd | wc -l`));
    await file("w/arm", "up");
    const before = open();
    expect(await failure(copy("fifo", { file_mode: 0o010644 }))).toContain("only files, folders and links can be copied");
    for (let i = 0; i < 5; i++) {
      await file(`d${i}/e/f`, "x");
      await failure(file("w/arm/below-a-file", "x"));
      await failure(file("../x", "x"));
    }
    expect(open()).toBe(before);
  });
});
