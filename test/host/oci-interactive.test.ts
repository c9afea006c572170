// `run -t` and `exec -t` over real terminals: much in both directions at once, readers that rest, hang-ups of either side, sizes,
// Ctrl-C and Ctrl-Z. Nothing is lost that somebody could have taken, no processor is spun, no process stays.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../helpers/lab.js";
import { Bundles, type ConfigChange } from "../helpers/oci-bundle.js";
import { suite } from "../helpers/suite.js";
import { noTerminal, Terminal } from "../helpers/terminal.js";

const MUCH = 1_000_000;
/** Hundredths of a second that a command may use for carrying some megabytes, on a slow machine: far less than what spinning uses. */
const FEW_TICKS = 150;

suite("a terminal in the foreground", { needs: ["agent", noTerminal] }, () => {
  let box: Bundles;
  let shared: string;
  const open: Terminal[] = [];
  beforeAll(() => {
    box = new Bundles();
    shared = join(box.folder, "shared");
    mkdirSync(shared);
  });
  afterEach(async () => {
    for (const terminal of open.splice(0)) await terminal.stop();
  });
  afterAll(() => box?.stop());

  const withTerminal: ConfigChange = (c) => {
    c.process["terminal"] = true;
    c.process["env"] = ["PATH=/bin", "TERM=xterm", "PS1=> "];
    c.mounts.push({ destination: "/shared", type: "bind", source: shared, options: ["bind"] });
  };
  const on = (words: readonly string[]): Terminal => {
    const terminal = new Terminal(words);
    open.push(terminal);
    return terminal;
  };
  interface Case { readonly terminal: Terminal; readonly id: string; /** Is the program gone? */ readonly gone: () => boolean }
  /** The program by either command. */
  const started = (how: string, script: string): Case => {
    if (how === "run") {
      const id = box.id();
      return { terminal: on(box.words(["run", "--bundle", box.make(script, withTerminal), id])), id, gone: () => box.command(["state", id]).status !== 0 };
    }
    const id = box.sleeper(withTerminal === undefined ? undefined : (c) => void c.mounts.push({ destination: "/shared", type: "bind", source: shared, options: ["bind"] }));
    const gone = (): boolean => (JSON.parse(box.command(["ps", "--format", "json", id]).stdout) as number[]).length === 1;
    return { terminal: on(box.words(["exec", "-t", "-e", "PS1=> ", id, "/bin/sh", "-c", script])), id, gone };
  };
  const few = { ticks: expect.toSatisfy((ticks: number) => ticks < FEW_TICKS) as number };

  describe.each(["run", "exec"])("of %s", (how) => {
    it("carries a paste of a megabyte while the program writes as much", async () => {
      const { terminal } = started(how, `stty raw -echo; echo ready; { head -c ${MUCH} /dev/zero | tr '\\0' x; } & head -c ${MUCH} | sha256sum > /tmp/sum; wait; echo; cat /tmp/sum; exit 4`);
      await terminal.expect("ready");
      const paste = Buffer.from(Array.from({ length: MUCH / 10 }, (_, i) => String(i).padStart(9, "0").concat(" ")).join(""));
      terminal.type(paste);
      const written = await terminal.expect("-");
      expect(written.toString()).toContain("x".repeat(MUCH));
      expect(written.toString()).toContain(createHash("sha256").update(paste).digest("hex"));
      expect(await terminal.end()).toMatchObject({ status: 4, same: true, ...few });
    });

    it("carries lines that are typed ahead, and the end of input", async () => {
      const { terminal } = started(how, "stty -echo; echo ready; cat > /tmp/all; sha256sum < /tmp/all; wc -c < /tmp/all");
      await terminal.expect("ready");
      const text = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join("");
      terminal.type(`${text}\x04`);
      await terminal.expect(createHash("sha256").update(text).digest("hex"));
      await terminal.expect(String(text.length));
      expect(await terminal.end()).toMatchObject({ status: 0, same: true, ...few });
    });

    it("keeps what a program has written for a reader that rests until after its end", async () => {
      const { terminal, gone } = started(how, `trap 'exit 1' HUP; echo ready; read x; head -c ${MUCH} /dev/zero | tr '\\0' y; echo; echo > /shared/${how}-written; exit 3`);
      await terminal.expect("ready");
      terminal.look(false);
      terminal.type("\n");
      // a megabyte does not fit into terminals: it cannot end yet; a little later it can
      const file = join(shared, `${how}-written`);
      expect(existsSync(file)).toBe(false);
      terminal.look(true);
      expect(String(await terminal.expect("y\r\n"))).toContain("y".repeat(MUCH));
      expect(await terminal.end()).toMatchObject({ status: 3, same: true, ...few });
      expect(gone()).toBe(true);
    });

    it("sees the program's end while nobody reads, and still delivers what it has written", async () => {
      const { terminal, gone } = started(how, "stty -echo; echo ready; read x; head -c 20000 /dev/zero | tr '\\0' z; echo; echo last; exit 3");
      await terminal.expect("ready");
      terminal.look(false);
      terminal.type("\n");
      await until("the program is gone", gone, 120_000);
      terminal.look(true);
      expect(String(await terminal.expect("last"))).toContain("z".repeat(20_000));
      expect(await terminal.end()).toMatchObject({ status: 3, same: true, ...few });
    });

    it("hands on signals while nobody reads, and ends then", async () => {
      const { terminal, gone } = started(how, "trap 'exit 9' TERM; echo ready; while :; do echo some more text; done");
      await terminal.expect("ready");
      terminal.look(false);
      process.kill(await terminal.pid(), "SIGTERM");
      if (how === "exec") await until("the program is gone", gone, 120_000); // it writes to a full terminal: only the signal ends it
      expect(await terminal.end()).toMatchObject({ status: 9, same: true, ...few });
    });

    it.each([
      ["a shell", "echo ready; while read x; do :; done"],
      ["a program that knows of no hang-up", "echo ready; exec sleep 100000"],
      ["a program that writes on", "echo ready; exec yes"],
    ])("ends %s in order when the caller's terminal is hung up", async (_, script) => {
      const { terminal, gone } = started(how, script);
      await terminal.expect("ready");
      terminal.hangUp();
      const { ticks } = await terminal.end();
      expect(ticks).toBeLessThan(FEW_TICKS);
      await until("the program is gone", gone, 120_000);
    });

    it("waits for a program that has closed its terminal, and shows what it writes when it has opened it again", async () => {
      const go = `${how}-go`;
      const { terminal } = started(how, `t=$(tty); echo ready; exec <&- >&- 2>&-; while [ ! -e /shared/${go} ]; do sleep 0.05; done; echo back > $t; exit 6`);
      await terminal.expect("ready");
      writeFileSync(join(shared, go), "");
      await terminal.expect("back");
      expect(await terminal.end()).toMatchObject({ status: 6, same: true, ...few });
    });

    it("has the caller's size and follows it", async () => {
      const { terminal } = started(how, "stty size; trap 'stty size; exit 0' WINCH; sleep 100000 & echo ready; wait");
      await terminal.expect("30 90");
      await terminal.expect("ready");
      terminal.resize(41, 123);
      await terminal.expect("41 123");
      expect(await terminal.end()).toMatchObject({ status: 0, same: true });
    });

    it("is the program's for Ctrl-C", async () => {
      const { terminal } = started(how, "trap 'echo interrupted; exit 7' INT; sleep 100000 & echo ready; wait");
      await terminal.expect("ready");
      terminal.type("\x03");
      await terminal.expect("interrupted");
      expect(await terminal.end()).toMatchObject({ status: 7, same: true });
    });

    it("is the program's for Ctrl-Z", async () => {
      const { terminal } = started(how, "echo ready; exec sh -i");
      await terminal.expect("> ");
      terminal.type("echo u''p; cat\r");
      await terminal.expect("up\r\n");
      terminal.type("first\r");
      await terminal.expect("first\r\nfirst\r\n"); // typed and copied
      terminal.type("\x1a");
      await terminal.expect("Stopped");
      await terminal.expect("> ");
      terminal.type("fg\r");
      await terminal.expect("fg\r\n");
      await terminal.expect("cat\r\n");
      terminal.type("second\r");
      await terminal.expect("second\r\nsecond\r\n");
      terminal.type("\x03");
      await terminal.expect("> ");
      terminal.type("exit 5\r");
      expect(await terminal.end()).toMatchObject({ status: 5, same: true });
    });

    it("is given back when the program is killed", async () => {
      const { terminal, id } = started(how, "echo ready; echo $$ > /shared/pid; exec sleep 100000");
      await terminal.expect("ready");
      if (how === "run") expect(box.command(["kill", id, "KILL"]).status).toBe(0);
      else {
        const pids = JSON.parse(box.command(["ps", "--format", "json", id]).stdout) as number[];
        process.kill(Math.max(...pids), "SIGKILL");
      }
      expect(await terminal.end()).toMatchObject({ status: 137, same: true });
    });
  });

  it("shows lines as a terminal wants them, and a file gets them bare", async () => {
    const { terminal } = started("run", "echo one; echo two");
    await terminal.expect("one\r\ntwo\r\n");
    await terminal.end();
    const id = box.sleeper();
    expect(box.command(["exec", "-t", id, "/bin/echo", "one"]).stdout).toBe("one\n");
  });

  it("does not spin nor wait for input that a program does not take, nor forget it", async () => {
    const id = box.sleeper();
    const file = join(box.folder, "input");
    writeFileSync(file, "0123456789abcde\n".repeat(1250));
    const from = (program: string): ReturnType<typeof spawnSync> => {
      const [word = "", ...words] = box.words(["exec", "-t", id, "/bin/sh", "-c", program]);
      const input = openSync(file, "r");
      try {
        return spawnSync(word, words, { stdio: [input, "pipe", "pipe"], timeout: 120_000, encoding: "utf8" });
      } finally {
        closeSync(input);
      }
    };
    expect(from("true").status).toBe(0);
    expect(from("stty -echo; head -c 20000 | wc -c").stdout).toContain("20000");
  });

  it("lets what waits for its reader in a pipe be read whole, and leaves the pipe's flags alone", async () => {
    const id = box.sleeper();
    const [word = "", ...words] = box.words(["exec", "-t", id, "/bin/sh", "-c", `head -c ${MUCH} /dev/zero | tr '\\0' p`]);
    const go = join(box.folder, "go");
    spawnSync("mkfifo", [go]);
    // the shell has the pipe too, and looks at its flags while the command waits, and after its end
    const flags = "grep flags /proc/self/fdinfo/1 >&2";
    const shell = spawn("sh", ["-c", `{ "$0" "$@" < /dev/null & read x; ${flags}; echo looked >&2; wait $!; ${flags}; } | { read y < "${go}"; cat; }`, word, ...words], { stdio: ["pipe", "pipe", "pipe"] });
    let errors = "";
    shell.stderr.on("data", (data: Buffer) => (errors += String(data)));
    const pieces: Buffer[] = [];
    shell.stdout.on("data", (data: Buffer) => pieces.push(data));
    shell.stdin.write("\n");
    await until("the shell has looked", () => errors.includes("looked"), 120_000);
    writeFileSync(go, "\n");
    await once(shell, "close");
    const seen = errors.split("\n").filter((line) => line.startsWith("flags")).map((line) => Number.parseInt(line.split(/\s+/)[1] ?? "x", 8) & 0o4000);
    expect(seen).toEqual([0, 0]);
    expect(Buffer.concat(pieces).length).toBe(MUCH);
  });

  it("waits for its reader at a socket too", async () => {
    const [word = "", ...words] = box.words(["exec", "-t", box.sleeper(), "/bin/sh", "-c", `head -c ${MUCH} /dev/zero | tr '\\0' q`]);
    const child = spawn(word, words, { stdio: ["ignore", "pipe", "ignore"] });
    const pieces: Buffer[] = [];
    child.stdout.on("readable", () => {
      for (let piece = child.stdout.read() as Buffer | null; piece !== null; piece = child.stdout.read() as Buffer | null) pieces.push(piece);
    });
    expect(await once(child, "close")).toEqual([0, null]);
    expect(Buffer.concat(pieces).length).toBe(MUCH);
  });

  it("lets other commands change the container meanwhile, and delete it", async () => {
    const { terminal, id } = started("run", "echo ready; exec sleep 100000");
    await terminal.expect("ready");
    for (const args of [["pause", id], ["resume", id], ["update", "--pids-limit", "20", id], ["delete", "--force", id]]) expect(box.command(args)).toMatchObject({ status: 0, stderr: "" });
    expect(await terminal.end()).toMatchObject({ status: 137, same: true });
  });

  it("leaves no command behind", () => {
    const mine = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return words.includes(box.folder) && !words.includes("vitest");
      } catch {
        return false;
      }
    });
    expect(mine).toEqual([]);
  });
});
