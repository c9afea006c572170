// Owns one QEMU of the bench, held before its first instruction until its sockets are connected, and watched over QMP. Must never
// leave a QEMU running. Sources: QEMU machine protocol (QMP) reference, record/replay document (`info replay` counts instructions).
import { spawn, type ChildProcess } from "node:child_process";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

interface Reply {
  readonly event?: string;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

export interface QemuOptions {
  readonly program: string;
  /** Machine, kernel and so on; the sockets, `-S` and `-no-shutdown` are added. */
  readonly args: readonly string[];
  /** A private folder for the sockets. */
  readonly folder: string;
  /** Names of virtio-serial ports in their order; each becomes a socket. */
  readonly ports: readonly string[];
  /** "virtio-serial-device" or "virtio-serial-pci". */
  readonly serialDevice: string;
}

const DEADLINE_MS = 120_000;

const connected = async (path: string, child: ChildProcess): Promise<Socket> => {
  for (let left = 500; ; left--) {
    const socket = createConnection(path);
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once("connect", () => resolve(undefined));
      socket.once("error", resolve);
    });
    if (error === undefined) return socket;
    if (left === 0 || child.exitCode !== null) throw new Error(`QEMU did not open ${path}: ${error.message}`);
    await sleep(10);
  }
};

export class Qemu {
  readonly #child: ChildProcess;
  #qmp: Socket | undefined;
  readonly #ports: Socket[] = [];
  readonly #replies: ((reply: Reply) => void)[] = [];
  readonly #events = new Map<string, () => void>();
  #said = "";
  /** The console's text so far. */
  console = "";
  /** Resolves with the reason when QEMU has ended. */
  readonly ended: Promise<string>;

  private constructor(o: QemuOptions) {
    const ports = o.ports.flatMap((name, i) => ["-chardev", `socket,id=port${i},path=${join(o.folder, `port${i}`)},server=on,wait=off`, "-device", `virtserialport,chardev=port${i},name=${name}`]);
    this.#child = spawn(o.program, [
      ...o.args, "-S", "-no-shutdown", "-qmp", `unix:${join(o.folder, "qmp")},server=on,wait=off`, "-device", o.serialDevice, ...ports,
    ], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout?.on("data", (chunk: Buffer) => (this.console = (this.console + chunk.toString("latin1")).slice(-20000)));
    this.#child.stderr?.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-2000)));
    this.ended = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(error.message));
      this.#child.on("close", (code, signal) => resolve(`QEMU ended (${signal ?? `exit code ${code}`}) ${this.#said.trim()}`));
    });
  }

  /** Starts QEMU, halted, with all sockets connected. Rejects with what QEMU said. */
  static async start(o: QemuOptions): Promise<Qemu> {
    const vm = new Qemu(o);
    try {
      vm.#qmp = await vm.#or(connected(join(o.folder, "qmp"), vm.#child));
      createInterface({ input: vm.#qmp }).on("line", (line) => vm.#heard(JSON.parse(line) as Reply));
      await vm.command("qmp_capabilities");
      for (const i of o.ports.keys()) vm.#ports.push(await vm.#or(connected(join(o.folder, `port${i}`), vm.#child)));
      return vm;
    } catch (error) {
      await vm.kill();
      throw error;
    }
  }

  #heard(reply: Reply): void {
    if (reply.event !== undefined) this.#events.get(reply.event)?.();
    else if ("return" in reply || "error" in reply) this.#replies.shift()?.(reply);
  }

  /** `work`, or an error as soon as QEMU has ended or the deadline is over. */
  async #or<T>(work: Promise<T>): Promise<T> {
    const stop = new AbortController();
    const late = sleep(DEADLINE_MS, undefined, { signal: stop.signal }).then(() => {
      throw new Error(`nothing came within ${DEADLINE_MS / 1000} s; console: ${this.console.slice(-400)}`);
    });
    const ended = this.ended.then((why) => {
      throw new Error(why);
    });
    late.catch(() => undefined);
    ended.catch(() => undefined);
    try {
      return await Promise.race([work, late, ended]);
    } finally {
      stop.abort();
    }
  }

  /** One QMP command; its result. */
  async command(execute: string, args?: object): Promise<unknown> {
    const answer = new Promise<Reply>((resolve) => this.#replies.push(resolve));
    this.#qmp?.write(`${JSON.stringify({ execute, ...(args === undefined ? {} : { arguments: args }) })}\n`);
    const reply = await this.#or(answer);
    if (reply.error !== undefined) throw new Error(`QMP ${execute}: ${reply.error.desc}`);
    return reply.return;
  }

  /** Resolves at the next QMP event of that name. */
  event(name: string): Promise<void> {
    return this.#or(new Promise((resolve) => this.#events.set(name, resolve)));
  }

  /** Writes to a port and resolves with the first bytes that come back. The guest gets them when it opens the port. */
  ask(port: number, bytes: Uint8Array): Promise<Buffer> {
    const socket = this.#ports[port];
    if (socket === undefined) throw new RangeError(`no port ${port}`);
    const answer = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    socket.write(bytes);
    return this.#or(answer);
  }

  /** Guest instructions so far; the machine must have been started with `rr=record` and be halted. */
  async instructions(): Promise<number> {
    const text = String(await this.command("human-monitor-command", { "command-line": "info replay" }));
    const count = /instruction count = (\d+)/.exec(text)?.[1];
    if (count === undefined) throw new Error(`QEMU did not tell the instruction count: ${text.trim()}`);
    return Number(count);
  }

  /** Ends QEMU and waits for its end. */
  async kill(): Promise<void> {
    this.#qmp?.destroy();
    for (const port of this.#ports) port.destroy();
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}
