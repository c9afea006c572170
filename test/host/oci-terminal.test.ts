// Terminals of the command line: the master that goes over a console socket, the caller's own terminal in the foreground, and a
// pidfd over its socket. The other end of the sockets is a few lines of Python, which can receive descriptors.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { Bundles, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";

/** Takes one connection; prints the message and what the descriptor is, then copies what it says, and lets it be told by standard input. */
const RECEIVER = `
import array, os, select, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); print("listening", flush=True)
c, _ = s.accept()
text, anc, _, _ = c.recvmsg(4096, socket.CMSG_SPACE(16))
fds = array.array("i", anc[0][2]); fd = fds[0]
print("got", len(fds), text.decode(), os.readlink("/proc/self/fd/%d" % fd), flush=True)
if sys.argv[2] == "copy":
    while True:
        ready = select.select([fd, 0], [], [])[0]
        try:
            if 0 in ready:
                data = os.read(0, 4096)
                if not data: break
                os.write(fd, data)
            if fd in ready: sys.stdout.write(os.read(fd, 4096).decode()); sys.stdout.flush()
        except OSError: break
else:
    select.select([fd], [], []); print("ended", flush=True)
`;

suite("terminals of the command line", { needs: ["agent", "program:python3", "program:script", "program:stty"] }, () => {
  let box: Bundles;
  let n = 0;
  const receivers: ChildProcess[] = [];
  beforeAll(() => {
    box = new Bundles();
  });
  afterAll(() => {
    for (const child of receivers) child.kill("SIGKILL");
    box?.stop();
  });
  const terminal: ConfigChange = (c) => {
    c.process["terminal"] = true;
  };

  const receiver = async (how: "copy" | "wait"): Promise<{ readonly path: string; readonly child: ChildProcess; readonly next: () => Promise<string | undefined> }> => {
    const path = join(box.folder, `${n++} is a socket with a long name, because callers have long names for folders and the kernel takes only 108 bytes`).slice(0, 107);
    const child = spawn("python3", ["-c", RECEIVER, path, how], { stdio: ["pipe", "pipe", "inherit"] });
    receivers.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<string | undefined> => ((await lines.next()) as { value?: string }).value?.replace(/\r$/, "");
    expect(await next()).toBe("listening");
    return { path, child, next };
  };

  it("sends the master of a created container's terminal", async () => {
    const { path, child, next } = await receiver("copy");
    const id = box.id();
    const bundle = box.make("stty size; tty; read x; echo got $x; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all", (c) => {
      terminal(c);
      c.process["consoleSize"] = { height: 33, width: 77 };
    });
    expect(box.quiet(["create", "--bundle", bundle, "--console-socket", path, id])).toMatchObject({ status: 0, stderr: "" });
    expect(await next()).toMatch(/^got 1 \/dev\/pts\/0 \/(dev\/)?(pts\/)?ptmx$/);
    expect(box.quiet(["start", id])).toMatchObject({ status: 0 });
    expect([await next(), await next()]).toEqual(["33 77", "/dev/pts/0"]);
    child.stdin?.write("word\n");
    expect([await next(), await next(), await next()]).toEqual(["word", "got word", "all"]); // the first is the terminal's echo
  });

  it("does the same for run -d and exec -d -t", async () => {
    const first = await receiver("copy");
    const id = box.id();
    expect(box.quiet(["run", "-d", "--console-socket", first.path, "--bundle", box.make("echo here; sleep 1000", terminal), id]).status).toBe(0);
    expect(await first.next()).toContain("got 1");
    expect(await first.next()).toBe("here");
    const second = await receiver("copy");
    expect(box.quiet(["exec", "-d", "-t", "--console-socket", second.path, id, "sh", "-c", "tty; read x"])).toMatchObject({ status: 0, stderr: "" });
    expect(await second.next()).toContain("got 1");
    expect(await second.next()).toBe("/dev/pts/1");
  });

  it("refuses a socket without a terminal, a terminal without a socket, and a socket where nobody listens", async () => {
    const refused = (args: readonly string[], text: string, status = 1): void => {
      const outcome = box.quiet(args);
      expect(outcome).toMatchObject({ status, stderr: expect.stringContaining(text) });
    };
    const plain = box.make("true");
    const with_ = box.make("true", terminal);
    const socket = join(box.folder, "nobody.sock");
    refused(["create", "--bundle", with_, box.id()], "needs --console-socket");
    refused(["run", "-d", "--bundle", with_, box.id()], "needs --console-socket");
    refused(["create", "--bundle", plain, "--console-socket", socket, box.id()], "--console-socket: only");
    refused(["run", "--bundle", with_, "--console-socket", socket, box.id()], "--console-socket: only");
    refused(["create", "--bundle", with_, "--console-socket", socket, box.id()], "send the terminal to the console socket");
    expect(box.command(["list", "-q"]).stdout.split("\n").filter((line) => line !== "")).toHaveLength(2); // those of the tests before
  });

  it("sends a pidfd", async () => {
    const { path, next } = await receiver("wait");
    const id = box.id();
    expect(box.quiet(["create", "--bundle", box.make("true"), "--pidfd-socket", path, id])).toMatchObject({ status: 0, stderr: "" });
    expect(await next()).toMatch(/^got 1 .*pidfd/);
    box.quiet(["start", id]);
    expect(await next()).toBe("ended");
    const running = box.sleeper();
    const second = await receiver("wait");
    expect(box.quiet(["exec", "-d", "--pidfd-socket", second.path, running, "true"])).toMatchObject({ status: 0, stderr: "" });
    expect(await second.next()).toContain("got 1");
    expect(await second.next()).toBe("ended");
  });

  /** A command on a terminal of 40 lines by 100 columns; afterwards the terminal's settings, which must be the old ones. */
  const onTerminal = (args: readonly string[], input = ""): { readonly status: number | null; readonly lines: string[] } => {
    const quoted = box.words(args).map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const script = `stty rows 40 cols 100; a=$(stty -g); ${quoted}; s=$?; [ "$a" = "$(stty -g)" ] && echo same; exit $s`;
    const { status, stdout } = spawnSync("script", ["-qec", script, "/dev/null"], { encoding: "utf8", input, timeout: 120_000 });
    return { status, lines: stdout.replaceAll("\r", "").replaceAll("\0", "").replaceAll("^@", "").replaceAll("^D", "").replaceAll("\b", "").trim().split("\n") };
  };

  it("is the caller's own terminal in the foreground", () => {
    expect(onTerminal(["run", "--bundle", box.make("stty size; tty; exit 5", terminal), box.id()])).toEqual({ status: 5, lines: ["40 100", "/dev/pts/0", "same"] });
    const id = box.sleeper();
    expect(onTerminal(["exec", "-t", id, "sh", "-c", "stty size; tty; exit 6"])).toEqual({ status: 6, lines: ["40 100", "/dev/pts/0", "same"] });
  });

  it("carries much output whole", () => {
    const { status, lines } = onTerminal(["run", "--bundle", box.make("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", terminal), box.id()]);
    expect(status).toBe(0);
    expect(lines).toEqual([...Array.from({ length: 20000 }, (_, i) => `line ${i}`), "same"]);
  });

  it("hands signals on to the program", async () => {
    const id = box.id();
    const ready = join(box.folder, "ready");
    const bundle = box.make("trap 'exit 42' TERM; echo > /ready/it; while :; do sleep 0.05; done", (c) => {
      spawnSync("mkdir", ["-p", ready]);
      c.mounts.push({ destination: "/ready", type: "bind", source: ready, options: ["bind"] });
    });
    const [program = "", ...words] = box.words(["run", "--bundle", bundle, id]);
    const child = spawn(program, words, { stdio: "ignore" });
    const end = once(child, "exit");
    await until("it runs", () => existsSync(join(ready, "it")));
    child.kill("SIGTERM");
    expect(await end).toEqual([42, null]);
  });
});
