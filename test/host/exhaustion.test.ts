// The real agent when something has run out, by an outside hand: system calls fail (strace's fault injection), descriptors are used up,
// nobody reads the console, clients flood the listener. It answers, it ends and removes what it is asked to, and it loses nothing.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { connectAgent } from "../../ctl/client/connect.js";
import { Lab, named, outcome, until } from "../helpers/lab.js";
import { BINARY } from "../helpers/private-agent.js";
import { suite } from "../helpers/suite.js";

/** Lets calls of a process fail until `stop` is called; `faults` are strace's inject expressions. */
const inject = async (pid: number, faults: readonly string[]): Promise<{ stop(): Promise<void> }> => {
  const names = faults.map((f) => f.split(":")[0]).join(",");
  const child = spawn("strace", ["-f", "-q", "-o", "/dev/null", "-p", String(pid), "-e", `trace=${names}`, ...faults.flatMap((f) => ["-e", `inject=${f}`])], { stdio: ["ignore", "ignore", "inherit"] });
  const gone = once(child, "exit");
  await until("strace holds the agent", () => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
  return {
    stop: async () => {
      child.kill("SIGTERM");
      await gone;
    },
  };
};

suite("an agent for which something has run out", { needs: ["agent"] }, () => {
  let lab: Lab;
  let before: Awaited<ReturnType<Lab["state"]>>;
  beforeAll(async () => {
    lab = await Lab.start();
  });
  beforeEach(() => {
    before = lab.state();
  });
  afterEach(async () => {
    await lab.settled(before);
  });
  afterAll(() => lab?.stop());

  suite("at the kernel", { needs: ["program:strace"] }, () => {
    it("takes connections, makes containers and executes in them without a watch of epoll to be had", async () => {
      const faults = await inject(lab.agent.pid, ["epoll_ctl:error=ENOSPC"]);
      try {
        const another = await lab.another();
        await another.check({});
        const id = await lab.up("cat; exec sleep 1000");
        expect((await lab.execRun(id, "echo out; echo err >&2; exit 3")).status).toBe(3);
        await lab.write(named(id), "in\n");
        expect(await lab.read(named(id))).toBe("in\n");
        await lab.remove(id);
        another.close();
      } finally {
        await faults.stop();
      }
      expect((await lab.run("echo after")).stdout).toBe("after\n");
    });

    it.each(["inotify_init1:error=EMFILE", "inotify_add_watch:error=ENOSPC", "eventfd2:error=EMFILE"])("starts containers (%s), whose kills are looked for by the clock", async (fault) => {
      const faults = await inject(lab.agent.pid, [fault]);
      try {
        expect((await lab.run("echo ran")).stdout).toBe("ran\n");
      } finally {
        await faults.stop();
      }
    });

    it.each(["EDQUOT", "ENOMEM", "ENOKEY", "EACCES"])("makes containers without a keyring to be had (%s), which see no key of others", async (errno) => {
      const id = await lab.up();
      const faults = await inject(lab.agent.pid, [`keyctl:error=${errno}`]);
      let other = "";
      try {
        other = await lab.up();
        expect((await lab.execRun(id, "exit 5")).status).toBe(5);
      } finally {
        await faults.stop();
      }
      await lab.remove(id);
      await lab.remove(other);
    });

    it.each(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EPROTO", "EPERM", "EINVAL", "EIO"])("lives through accept4: %s, and takes who waited", async (errno) => {
      const faults = await inject(lab.agent.pid, [`accept4:error=${errno}`]);
      const late = lab.another();
      late.catch(() => undefined);
      try {
        await lab.client.check({});
      } finally {
        await faults.stop();
      }
      const client = await late;
      await client.check({});
      client.close();
    });

    it.each(["clone:error=EAGAIN", "pipe2:error=EMFILE"])("removes a container as soon as it can (%s), and answers meanwhile", async (fault) => {
      const id = await lab.up("mkdir -p /tmp/a/b; exec sleep 1000");
      const faults = await inject(lab.agent.pid, [fault]);
      try {
        await outcome(lab.client.removeContainer({ containerId: id }));
        await lab.client.check({});
      } finally {
        await faults.stop();
      }
      await outcome(lab.client.removeContainer({ containerId: id }));
    });
  });

  it("ends and removes containers without a descriptor to be had", async () => {
    const [first, second] = [await lab.up(), await lab.up("sleep 1000 & sleep 1000")];
    const sockets: Socket[] = [];
    const { pid } = lab.agent;
    const limit = lab.fds() + 6;
    execFileSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:`]);
    try {
      for (let i = 0; i < 12; i++) sockets.push(connect(join(lab.agent.dir, "a.sock")).on("error", () => undefined));
      await until("all descriptors are in use", () => lab.fds() >= limit);
      expect(await outcome(lab.exec(first, "true"))).toMatch(/EMFILE/);
      await lab.client.check({});
      await lab.client.signalProcess({ containerId: second, execId: "", signal: 9 });
      expect(await lab.wait(named(second))).toBe(137);
      await lab.remove(second);
      await lab.remove(first);
    } finally {
      execFileSync("prlimit", ["--pid", String(pid), `--nofile=${hardLimit(pid)}:`]);
      for (const socket of sockets) socket.destroy();
    }
    expect((await lab.run("echo after")).stdout).toBe("after\n");
  });

  it("answers the clients it has while others connect and leave as fast as they can", async () => {
    const path = join(lab.agent.dir, "a.sock");
    const flood = spawn(process.execPath, ["-e", `
      const { connect } = require("node:net");
      const again = () => { const s = connect(${JSON.stringify(path)}); s.on("connect", () => { s.destroy(); again(); }); s.on("error", () => setImmediate(again)); };
      for (let i = 0; i < 100; i++) again();
      process.stdout.write("on");
    `], { stdio: ["ignore", "pipe", "ignore"] });
    const gone = once(flood, "exit");
    try {
      await once(flood.stdout as NodeJS.ReadableStream, "data");
      for (let i = 0; i < 50; i++) await lab.client.check({});
      expect((await lab.run("echo in between")).stdout).toBe("in between\n");
    } finally {
      flood.kill("SIGKILL");
      await gone;
    }
    expect(lab.agent.log()).not.toMatch(/"level":"(CRIT|ERRO)"/);
  });
});

const hardLimit = (pid: number): string => /Max open files\s+\d+\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[1] as string;

suite("a console that nobody reads", { needs: ["agent", "program:python3"] }, () => {
  let dir: string;
  let child: ChildProcess | undefined;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "kata-console-"));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  afterEach(async () => {
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  });

  // the parent makes the stream and never reads it; its standard input ends with this test
  it.each([
    ["terminal", "import pty, os\nm, s = pty.openpty()"],
    ["pipe", "import os\nm, s = os.pipe()"],
    ["socket", "import socket, os\na, b = socket.socketpair()\nm, s = a.fileno(), b.fileno()"],
  ])("that is a %s stops nobody: 6,000 failing calls, and Check answers", async (what, make) => {
    const socket = join(dir, `${what}.sock`);
    writeFileSync(join(dir, "agent.toml"), `server_addr = "unix://${socket}"\nlog_level = "debug"\n`);
    const script = `${make}
import ctypes, sys
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).prctl(1, 9) # PR_SET_PDEATHSIG: it ends with its maker, however that ends
    os.close(m)
    os.dup2(s, 1); os.dup2(s, 2); os.close(s)
    os.execv(${JSON.stringify(BINARY)}, ["kata-agent", "--config", ${JSON.stringify(join(dir, "agent.toml"))}])
os.close(s)
sys.stdin.read()
os.kill(pid, 9)
`;
    child = spawn("python3", ["-c", script], { stdio: ["pipe", "ignore", "inherit"] });
    const client = await connectAgent(`unix://${socket}`, { waitMs: 120_000 });
    const calls = Array.from({ length: 6000 }, (_, i) => outcome(client.startContainer({ containerId: `none${i}${"x".repeat(200)}` })));
    expect(new Set((await Promise.all(calls)).map((text) => text.split(":")[0]))).toEqual(new Set(["INTERNAL"]));
    await client.check({});
    await outcome(client.startContainer({ containerId: "y".repeat(4_000_000) }));
    await client.check({});
    client.close();
    const gone = once(child, "exit");
    child.stdin?.end(); // who made the agent ends it
    await gone;
    child = undefined;
  });
});
