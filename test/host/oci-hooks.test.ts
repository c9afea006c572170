// Hooks by the command line: when and where each kind runs, what it reads and may use, and what its failure means.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../helpers/engine-box.js";
import { Bundles, type Config, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

type Json = Record<string, unknown>;
const OUTSIDE = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
const KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
const sh = (script: string, more: Json = {}): Json => ({ path: "/bin/sh", args: ["sh", "-c", script], ...more });

suite("hooks", { needs: ["agent"] }, () => {
  let box: Bundles;
  let notes: string;
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => box?.stop());

  /** A folder that hooks write to; it is in the container too. */
  function noting(hooks: Json): ConfigChange {
    notes = join(box.folder, "notes");
    rmSync(notes, { recursive: true, force: true });
    mkdirSync(notes);
    return (c) => {
      c.mounts.push({ destination: notes, type: "bind", source: notes, options: ["bind"] });
      c["hooks"] = hooks;
    };
  }
  const note = (name: string): string => readFileSync(join(notes, name), "utf8");
  const at = (name: string): string => join(box.folder, "notes", name);

  it("run in order, each with the state of its moment on stdin", async () => {
    const hooks = Object.fromEntries(KINDS.map((kind) => [kind, [sh(`echo ${kind} >> ${at("order")}; cat > ${at(kind)}`), sh(`echo again >> ${at("order")}`)]]));
    const change = noting(hooks);
    const bundle = box.make(`echo program >> ${at("order")}`, (c) => {
      change(c);
      c["ociVersion"] = "1.2.1";
      c["annotations"] = { "org.example": "ä" };
    });
    const id = box.id();
    expect(box.quiet(["create", "--bundle", bundle, id])).toMatchObject({ status: 0 });
    expect(note("order").split("\n")).toEqual(["prestart", "again", "createRuntime", "again", "createContainer", "again", ""]); // create has waited for them
    const { pid } = JSON.parse(box.command(["state", id]).stdout) as { pid: number };
    expect(box.quiet(["start", id])).toMatchObject({ status: 0 });
    await expect.poll(() => (JSON.parse(box.command(["state", id]).stdout) as Json)["status"]).toBe("stopped");
    expect(existsSync(at("poststop"))).toBe(false);
    expect(box.quiet(["delete", id])).toMatchObject({ status: 0 });
    const order = note("order").split("\n");
    expect(order.slice(6, 8)).toEqual(["startContainer", "again"]);
    expect(order.slice(8, 11).sort()).toEqual(["again", "poststart", "program"]);
    expect(order.slice(11)).toEqual(["poststop", "again", ""]);
    const state = (status: string, its: number): Json => ({ ociVersion: "1.2.1", id, status, pid: its, bundle, annotations: { "org.example": "ä" } });
    expect(Object.fromEntries(KINDS.map((kind) => [kind, JSON.parse(note(kind)) as Json]))).toEqual({
      prestart: state("created", pid), createRuntime: state("creating", pid), createContainer: state("creating", pid),
      startContainer: state("created", 1), poststart: state("running", pid), poststop: state("stopped", 0),
    });
  });

  it("run in the namespaces of their kind, beginning in the bundle or the root, with nothing but the three streams open", () => {
    const look = (kind: string): Json => sh(`exec > ${at(kind)}; readlink /proc/self/ns/net; pwd; echo /proc/self/fd/*; umask; if test -e ${kind === "createContainer" ? "." : "rootfs"}/proc/self; then echo mounted; fi`);
    const bundle = box.make("readlink /proc/self/ns/net", noting(Object.fromEntries(KINDS.map((kind) => [kind, [look(kind)]]))));
    const { status, stdout } = box.command(["run", "--preserve-fds", "3", "--bundle", bundle, box.id()], ["sh", "-c", 'exec 3</ 4</etc 5</tmp; exec "$@"', "sh"]);
    expect(status).toBe(0);
    for (const kind of KINDS) {
      const [net, cwd, fds, umask, mounted] = note(kind).split("\n");
      expect([kind, net === stdout.trim()]).toEqual([kind, kind === "createContainer" || kind === "startContainer"]);
      expect([kind, cwd]).toEqual([kind, kind === "startContainer" ? "/" : kind === "createContainer" ? `${bundle}/rootfs` : bundle]);
      expect([kind, fds]).toEqual([kind, "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3"]);
      expect([kind, umask]).toEqual([kind, "0022"]);
      expect([kind, mounted]).toEqual([kind, kind === "createContainer" ? "mounted" : ""]);
    }
  });

  it("have the caller's environment, none, or the process's, unless they say their own", () => {
    const show = (kind: string): Json[] => [sh(`/bin/env > ${at(kind)}`), sh(`/bin/env > ${at(`${kind}.own`)}`, { env: ["ONLY=this"] })];
    const bundle = box.make("true", (c) => {
      noting(Object.fromEntries(KINDS.map((kind) => [kind, show(kind)])))(c);
      c.process["env"] = ["PATH=/bin", "OF=process"];
    });
    mkdirSync(join(bundle, "rootfs/bin"), { recursive: true });
    expect(box.command(["run", "--bundle", bundle, box.id()], ["env", "-i", "OF=caller"])).toMatchObject({ status: 0 });
    const seen = (name: string): string[] => note(name).split("\n").filter((l) => l !== "" && !/^(PWD|OLDPWD|SHLVL|_)=|^PATH=\/sbin:/.test(l)).sort();
    for (const kind of KINDS) expect([kind, seen(`${kind}.own`)]).toEqual([kind, ["ONLY=this"]]);
    for (const kind of ["prestart", "createRuntime", "poststart", "poststop"]) expect([kind, seen(kind)]).toEqual([kind, ["OF=caller"]]);
    expect(seen("createContainer")).toEqual([]);
    expect(seen("startContainer")).toEqual(["HOME=/", "OF=process", "PATH=/bin"]);
  });

  it("keep nobody waiting by what they leave unread or leave behind, and may read a long state", () => {
    const long = "x".repeat(300_000);
    const unread = { path: "/bin/true" };
    const change = noting({ prestart: [unread, sh(`cat > ${at("state")}`)], createContainer: [unread], startContainer: [unread], poststart: [sh(`sleep 1000 & echo $! > ${at("daemon")}`)] });
    const { status, stderr } = box.run("true", (c) => {
      change(c);
      c["annotations"] = { long };
    });
    process.kill(Number(note("daemon")), "SIGKILL");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect((JSON.parse(note("state")) as { annotations: Json }).annotations).toEqual({ long });
  });

  it.each(KINDS.slice(0, 5))("a failing %s hook is an error with what it said; the container is gone, poststop hooks run", (kind) => {
    for (const commands of [["run"], ["create", "start"]]) {
      const change = noting({ [kind]: [{ path: "/bin/true" }, sh("echo told; echo why >&2; exit 3"), sh(`touch ${at("later")}`)], poststop: [sh(`cat > ${at("poststop")}`)] });
      const bundle = box.make("sleep 1000", change);
      const id = box.id();
      const last = commands.map((command) => box.quiet([command, ...(command === "start" ? [] : ["--bundle", bundle]), id])).find(({ status }) => status !== 0);
      expect(last?.status).toBe(1);
      expect(last?.stderr).toContain(`error running ${kind} hook #1: /bin/sh: exit status 3: told\\nwhy`);
      expect(existsSync(at("later"))).toBe(false);
      expect(JSON.parse(note("poststop"))).toMatchObject({ id, status: "stopped" });
      expect(box.command(["state", id])).toMatchObject({ status: 1, stderr: expect.stringContaining("does not exist") });
      expect(readdirSync(join(box.folder, "state"))).not.toContain(id);
    }
  });

  it("poststop hooks that fail are told in the log, and the next one runs", () => {
    const { status, stdout, stderr } = box.run("echo ran", noting({ poststop: [sh("exit 4"), { path: "/no/such" }, sh(`touch ${at("third")}`)] }));
    expect({ status, stdout }).toEqual({ status: 0, stdout: "ran\n" });
    expect(stderr).toContain("error running poststop hook #0: /bin/sh: exit status 4");
    expect(stderr).toContain("error running poststop hook #1: /no/such: exit status 127: cannot be executed: execve: ENOENT");
    expect(existsSync(at("third"))).toBe(true);
  });

  it("of the start run under a filter that forbids them to close others' descriptors", () => {
    const change = noting({ startContainer: [sh(`echo ran > ${at("under")}`)] });
    const { stderr } = box.run("true", (c) => {
      change(c);
      c.linux["seccomp"] = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [{ names: ["close_range"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }] };
    });
    expect([stderr, note("under")]).toEqual(["", "ran\n"]);
  });

  it.each(["prestart", "createContainer", "startContainer"])("a %s hook that takes longer than it may is killed", (kind) => {
    const { status, stderr } = box.run("true", noting({ [kind]: [{ path: "/bin/sleep", args: ["sleep", "1000"], timeout: 1 }] }));
    expect(status).toBe(1);
    expect(stderr).toContain(`error running ${kind} hook #0: /bin/sleep: killed, not finished after 1 s`);
  });

  it("say that their program cannot be executed", () => {
    const file = join(box.folder, "plain-file");
    writeFileSync(file, "no program", { mode: 0o644 });
    expect(box.run("true", noting({ createRuntime: [{ path: file }] })).stderr).toContain(`error running createRuntime hook #0: ${file}: exit status 127: cannot be executed: execve: EACCES`);
    expect(box.run("true", noting({ startContainer: [{ path: file }] })).stderr).toContain(`error running startContainer hook #0: ${file}: exit status 127: cannot be executed: execve: ENOENT`);
  });

  it("get their own name as argv[0] when they ask for it", () => {
    const argv = `tr '\\0' ' ' < /proc/$$/cmdline > ${at("argv")}`;
    expect(box.run("true", noting({ prestart: [{ path: "/bin/sh", args: ["another name", "-c", argv] }] })).status).toBe(0);
    expect(note("argv").startsWith("another name -c ")).toBe(true);
  });

  it.each(OUTSIDE.concat("startContainer").flatMap((kind): [string, Json, string][] => [
    [kind, { path: "bin/true" }, `hooks.${kind}[1].path: "bin/true" is not an absolute path`],
    [kind, { path: "/bin/true", timeout: 0 }, `hooks.${kind}[1].timeout: 0 is not above 0`],
    [kind, { path: "/bin/true", timeout: -1 }, `hooks.${kind}[1].timeout: `],
  ]))("a wrong %s hook is refused with its field (%o)", (kind, hook, message) => {
    const change: ConfigChange = (c: Config) => void (c["hooks"] = { [kind]: [{ path: "/bin/true" }, hook] });
    expect(box.run("true", change)).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining(message) });
  });
});

suite("hooks that hosts of the agent ask for", { needs: ["agent"] }, () => {
  let lab: Box;
  beforeAll(async () => {
    lab = await Box.start();
  });
  afterAll(() => lab?.stop());

  it("have no environment but their own; a failing poststart hook is no error", async () => {
    const dir = lab.outside();
    const hooks = {
      prestart: [{ path: "/bin/sh", args: ["sh", "-c", `/usr/bin/env > ${dir}/env; cat > ${dir}/state`] }],
      startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "echo $PATH > /tmp/path"] }],
      poststart: [{ path: "/bin/false" }, { path: "/bin/sh", args: ["sh", "-c", `touch ${dir}/next`] }],
      poststop: [{ path: "/bin/false" }, { path: "/bin/sh", args: ["sh", "-c", `cat > ${dir}/stopped`] }],
    };
    expect(await lab.run("cat /tmp/path", (s) => (s["hooks"] = hooks))).toMatchObject({ status: 0, stdout: "/bin\n" });
    expect(readFileSync(join(dir, "env"), "utf8")).toMatch(/^(PWD=.*\n|OLDPWD=.*\n|SHLVL=.*\n|_=.*\n)*$/);
    expect(JSON.parse(readFileSync(join(dir, "state"), "utf8"))).toMatchObject({ status: "creating", ociVersion: expect.stringMatching(/^1\./) });
    expect(JSON.parse(readFileSync(join(dir, "stopped"), "utf8"))).toMatchObject({ status: "stopped", pid: 0 });
    expect(existsSync(join(dir, "next"))).toBe(true);
  });
});
