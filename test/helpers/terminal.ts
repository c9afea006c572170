// A command on a real terminal, as a person has it: what is typed, what appears, a reader who looks away, another size, a hang-up.
// The terminal is a few lines of Python, which keep exact account; each step is told to it by a line and nothing is guessed by time.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const DRIVER = String.raw`
import base64, fcntl, json, os, pty, select, struct, sys, termios
master, slave = pty.openpty()
size = lambda rows, cols: fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
size(30, 90)
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for n in range(3): os.dup2(slave, n)
    os.closerange(3, 1024)
    os.execvp(sys.argv[1], sys.argv[1:])
say = lambda **what: (sys.stdout.write(json.dumps(what) + "\n"), sys.stdout.flush())
say(pid=pid)
os.set_blocking(master, False)
ended = os.pidfd_open(pid)
unsent, reading, over, lines = b"", True, False, b""
def fields(): return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
while not over:
    ready, writable, _ = select.select([0, ended] + ([master] if reading and master >= 0 else []), [master] if unsent and master >= 0 else [], [])
    if master in writable:
        try: unsent = unsent[os.write(master, unsent):]
        except BlockingIOError: pass
    if master in ready:
        try: say(data=base64.b64encode(os.read(master, 65536)).decode())
        except BlockingIOError: pass
    if 0 in ready:
        more = os.read(0, 1 << 20)
        if not more: break
        *whole, lines = (lines + more).split(b"\n")
        for line in whole:
            told = json.loads(line)
            if told["do"] == "type": unsent += base64.b64decode(told["data"])
            if told["do"] == "look": reading = told["at"]
            if told["do"] == "size": size(told["rows"], told["columns"])
            if told["do"] == "hang up": os.close(master); os.close(slave); master = -1
    if ended in ready and not (master in ready and reading):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ticks = int(fields()[11]) + int(fields()[12])
        while master >= 0 and reading:
            try: say(data=base64.b64encode(os.read(master, 65536)).decode())
            except BlockingIOError: break
        same = master >= 0 and termios.tcgetattr(slave) == before
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        say(status=status, ticks=ticks, same=same); over = True
`;

/** Why there is none here; undefined when there is. */
export const noTerminal = (): string | undefined => (spawnSync("python3", ["-c", "import os; os.pidfd_open(os.getpid())"]).status === 0 ? undefined : "needs python3 (3.9 or later)");

export interface TerminalEnd {
  /** Exit status; negative: a signal. */
  readonly status: number;
  /** Hundredths of a second of processor that the command itself has used. */
  readonly ticks: number;
  /** Are the terminal's settings what they were before? */
  readonly same: boolean;
}

interface Told { readonly pid?: number; readonly data?: string; readonly status?: number; readonly ticks?: number; readonly same?: boolean }

/** One command on a terminal of 30 lines by 90 columns. */
export class Terminal {
  readonly #child: ChildProcess;
  #seen = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  #end: TerminalEnd | undefined;
  #pid = 0;

  constructor(words: readonly string[]) {
    this.#child = spawn("python3", ["-c", DRIVER, ...words], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const told = JSON.parse(line) as Told;
      if (told.pid !== undefined) this.#pid = told.pid;
      if (told.data !== undefined) this.#seen = Buffer.concat([this.#seen, Buffer.from(told.data, "base64")]);
      if (told.status !== undefined) this.#end = { status: told.status, ticks: told.ticks ?? 0, same: told.same ?? false };
      this.#wake();
    });
  }

  #tell(what: object): void {
    this.#child.stdin?.write(`${JSON.stringify(what)}\n`);
  }

  async #until<T>(what: string, found: () => T | undefined, ms: number): Promise<T> {
    const late = Date.now() + ms;
    for (;;) {
      const value = found();
      if (value !== undefined) return value;
      const left = late - Date.now();
      if (left <= 0) throw new Error(`${what} has not come after ${ms} ms; seen: ${JSON.stringify(this.#seen.subarray(-500).toString())}`);
      await new Promise<void>((go) => {
        const timer = setTimeout(go, left);
        this.#wake = () => (clearTimeout(timer), go());
      });
    }
  }

  /** The pid of the command. */
  pid(): Promise<number> {
    return this.#until("the command", () => this.#pid || undefined, 120_000);
  }
  type(data: string | Buffer): void {
    this.#tell({ do: "type", data: Buffer.from(data).toString("base64") });
  }
  /** Reads what appears, or lets it pile up. */
  look(at: boolean): void {
    this.#tell({ do: "look", at });
  }
  resize(rows: number, columns: number): void {
    this.#tell({ do: "size", rows, columns });
  }
  hangUp(): void {
    this.#tell({ do: "hang up" });
  }
  /** Waits until `text` has appeared; all that has appeared up to its end, which is then forgotten. */
  expect(text: string, ms = 120_000): Promise<Buffer> {
    return this.#until(JSON.stringify(text), () => {
      const at = this.#seen.indexOf(text);
      if (at < 0) return undefined;
      const found = this.#seen.subarray(0, at + text.length);
      this.#seen = this.#seen.subarray(at + text.length);
      return found;
    }, ms);
  }
  /** Waits for the command's end. */
  end(ms = 120_000): Promise<TerminalEnd> {
    return this.#until("the end", () => this.#end, ms);
  }
  /** What has appeared and was not asked for. */
  get rest(): Buffer {
    return this.#seen;
  }
  /** Ends the terminal and, by its hang-up, what is on it. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }
}
