// Commands at the same time, and commands that are killed in the middle: an id has one owner, and `delete --force` always gets
// rid of what is left.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bundles } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

interface Ended { readonly status: number | null; readonly log: string }

suite("commands at the same time", { needs: ["agent"] }, () => {
  let box: Bundles;
  let n = 0;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());

  const begin = (args: readonly string[]): { readonly child: ChildProcess; readonly end: Promise<Ended> } => {
    const log = join(box.folder, `log${n++}`);
    const [program = "", ...words] = box.words(args);
    const at = words.indexOf("--root");
    const child = spawn(program, [...words.slice(0, at), "--log", log, ...words.slice(at)], { stdio: "ignore" });
    const end = once(child, "exit").then(([status]) => ({ status: status as number | null, log: existsSync(log) ? readFileSync(log, "utf8") : "" }));
    return { child, end };
  };
  const all = (commands: readonly (readonly string[])[]): Promise<Ended[]> => Promise.all(commands.map((args) => begin(args).end));
  const cgroupsOf = (id: string): string[] => readdirSync("/sys/fs/cgroup").map((controller) => `/sys/fs/cgroup/${controller}/${id}`).filter((path) => existsSync(path));
  const ids = (): string => box.command(["list", "-q"]).stdout;
  /** Processes whose root is in the bundle: they run from it, as the kernel tells by their mounts. */
  const processesOf = (bundle: string): string[] => readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(`${bundle}/rootfs / `);
    } catch {
      return false; // gone, or dying
    }
  });

  it("lets one of 20 have an id", async () => {
    for (let round = 0; round < 3; round++) {
      const id = box.id();
      const bundle = box.make("sleep 1000");
      const ended = await all(Array.from({ length: 20 }, () => ["create", "--bundle", bundle, id]));
      expect(ended.filter(({ status }) => status === 0)).toHaveLength(1);
      for (const { status, log } of ended) if (status !== 0) expect(log).toContain("container with given ID already exists");
      expect(JSON.parse(box.command(["state", id]).stdout)).toMatchObject({ status: "created" });
      const started = await all(Array.from({ length: 10 }, () => ["start", id]));
      expect(started.filter(({ status }) => status === 0)).toHaveLength(1);
      for (const { status, log } of started) if (status !== 0) expect(log).toContain("cannot start an already running container");
      const deleted = await all(Array.from({ length: 10 }, () => ["delete", "--force", id]));
      expect(deleted.map(({ status }) => status)).toEqual(deleted.map(() => 0));
      expect([ids(), cgroupsOf(id)]).toEqual(["", []]);
    }
  }, 240_000);

  it("starts or deletes, whichever comes first", async () => {
    for (let round = 0; round < 15; round++) {
      const id = box.id();
      box.quiet(["create", "--bundle", box.make("sleep 1000"), id]);
      const [started, deleted] = (await all([["start", id], ["delete", id]])) as [Ended, Ended];
      if (deleted.status === 0) expect(ids()).toBe(""); // before the start, or between
      else expect([started.status, deleted.log]).toEqual([0, expect.stringContaining("not stopped")]);
      if (started.status !== 0) expect(started.log).toMatch(/does not exist|stopped/);
      box.quiet(["delete", "--force", id]);
      expect([ids(), cgroupsOf(id)]).toEqual(["", []]);
    }
  }, 240_000);

  it("tells the state at any moment", async () => {
    const id = box.id();
    const bundle = box.make("sleep 1000");
    const making = begin(["create", "--bundle", bundle, id]);
    const seen = new Set<string>();
    for (let over = false; !over; ) {
      over = await Promise.race([making.end.then(() => true), new Promise<boolean>((done) => setImmediate(() => done(false)))]);
      const { status, stdout, stderr } = box.command(["state", id]);
      seen.add(status === 0 ? (JSON.parse(stdout) as { status: string }).status : stderr.includes("does not exist") ? "none" : stderr);
    }
    expect([...seen].filter((word) => !["none", "creating", "created"].includes(word))).toEqual([]);
    expect(seen).toContain("created");
    expect([processesOf(bundle).length, cgroupsOf(id).length > 0]).toEqual([1, true]); // what the others look for can be seen
    box.removeAll();
  });

  it("leaves nothing that delete --force cannot remove when create is killed", async () => {
    let cut = 0;
    for (let round = 0; round < 40; round++) {
      const id = box.id();
      const bundle = box.make("sleep 1000");
      const making = begin(["create", "--bundle", bundle, id]);
      const until = process.hrtime.bigint() + BigInt(Math.floor(Math.random() * 25e6));
      while (process.hrtime.bigint() < until) await new Promise((done) => setImmediate(done));
      making.child.kill("SIGKILL");
      const { status } = await making.end;
      if (status === null) cut++;
      const told = box.command(["state", id]);
      if (told.status !== 0) expect(told.stderr).toContain("does not exist");
      else expect(["creating", "created", "stopped"]).toContain((JSON.parse(told.stdout) as { status: string }).status);
      const { status: removed, stderr } = box.quiet(["delete", "--force", id]);
      expect({ round, removed, stderr }).toEqual({ round, removed: 0, stderr: "" });
      expect({ round, ids: ids(), cgroups: cgroupsOf(id), processes: processesOf(bundle) }).toEqual({ round, ids: "", cgroups: [], processes: [] });
    }
    expect(cut).toBeGreaterThan(5); // else it tests nothing
  }, 120_000);

  it.each(["SIGINT", "SIGTERM"] as const)("ends at %s while a hook hangs, and takes back what it has begun", async (signal) => {
    const id = box.id();
    const hung = join(box.folder, `${id}-hung`);
    const bundle = box.make("sleep 1000", (config) => {
      config["hooks"] = { createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", `mkfifo ${hung} && echo there > ${hung}; exec sleep 1000`] }] };
    });
    const { child, end } = begin(["create", "--bundle", bundle, id]);
    await new Promise<void>((done) => {
      const look = (): void => (existsSync(hung) ? done() : void setImmediate(look));
      look();
    });
    readFileSync(hung, "utf8"); // answers when the hook is at it
    child.kill(signal);
    expect((await end).status).not.toBe(0);
    expect([ids(), cgroupsOf(id), processesOf(bundle)]).toEqual(["", [], []]);
  });
});
