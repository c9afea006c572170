// Owns the conversation with a line-driven C program (bench/native/drive.c, floor-run.c): one command, one answer, in order.
// The clock is theirs; nothing is timed on this side. Must never leave the program running.
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

interface Waiting {
  readonly resolve: (values: number[]) => void;
  readonly reject: (error: Error) => void;
  readonly command: string;
}

export class Driver {
  readonly #child: ChildProcess;
  readonly #waiting: Waiting[] = [];
  #said = "";
  #ended = false;

  /** Starts `program`; it ends when `close` is called or this process ends. */
  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("driver without pipes");
    createInterface({ input: stdout }).on("line", (line) => this.#answer(line));
    stderr.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-2000)));
    this.#child.stdin?.on("error", () => undefined); // the end is told by "close"
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("close", (code, signal) => this.#end(`${program} ended (${signal ?? `exit code ${code}`})`));
  }

  #answer(line: string): void {
    const [word, ...values] = line.split("\t");
    const next = this.#waiting.shift();
    if (next === undefined) return;
    if (word === "ok") next.resolve(values.map(Number));
    else next.reject(new Error(`${next.command}: ${values.join(" ")}${this.#said === "" ? "" : ` [${this.#said.trim()}]`}`));
  }

  #end(why: string): void {
    this.#ended = true;
    for (const one of this.#waiting.splice(0)) one.reject(new Error(`${one.command}: ${why}${this.#said === "" ? "" : `: ${this.#said.trim()}`}`));
  }

  /**
   * One command of tab-parted words; the answer's numbers. drive.c knows: `load NAME FILE`, `connect NAME PATH SECONDS`,
   * `disconnect NAME`, `sequence NAME ID CALL...`, `repeat NAME ID CALL COUNT`, `flow NAME ID CALL BYTES`, `run LOG PROGRAM ARG...`,
   * `spawn LOG PROGRAM ARG...`, `end PID`, `first SOCKET CALL LOG PROGRAM ARG...`, `memory PID`. Rejects with the program's error.
   */
  do(...words: (string | number)[]): Promise<number[]> {
    const command = words.join(" ");
    if (this.#ended) return Promise.reject(new Error(`${command}: the driver has ended: ${this.#said.trim()}`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, command });
      this.#child.stdin?.write(`${words.join("\t")}\n`);
    });
  }

  /** The first number of the answer. */
  async one(...words: (string | number)[]): Promise<number> {
    return (await this.do(...words))[0] ?? NaN;
  }

  /** Ends the program and waits for its end; what it started ends with it. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.stdin?.end();
    await closed;
  }
}
