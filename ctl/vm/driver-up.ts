// Asks QEMU whether the guest's driver has taken its vsock device: the sign that a first connection may be tried, whatever the guest
// writes on its console. It owns the few words of QMP this needs. Source: QEMU 7.2, QMP reference ("x-query-virtio-status").
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const ASK_AGAIN_MS = 50;

interface Answer {
  return?: unknown;
  error?: { desc?: string };
}

/** A QMP connection: one command at a time. */
class Monitor {
  #rest = "";
  #answers: ((answer: Answer) => void)[] = [];
  #lost: (error: Error) => void = () => undefined;
  readonly lost = new Promise<never>((_resolve, reject) => (this.#lost = reject));

  constructor(readonly socket: Socket) {
    this.lost.catch(() => undefined);
    socket.setEncoding("utf8").on("data", (text: string) => {
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#line(line);
    });
    socket.on("error", (error) => this.#lost(error)).on("close", () => this.#lost(new Error("QEMU closed its monitor")));
  }

  #line(line: string): void {
    const answer = JSON.parse(line) as Answer;
    // The greeting and events are neither.
    if ("return" in answer || "error" in answer) this.#answers.shift()?.(answer);
  }

  /** What QEMU returns. Rejects with its words, or when the connection is lost. */
  async ask(execute: string, given: object = {}): Promise<unknown> {
    const answer = new Promise<Answer>((resolve) => this.#answers.push(resolve));
    this.socket.write(`${JSON.stringify({ execute, arguments: given })}\n`);
    const { error, return: value } = await Promise.race([answer, this.lost]);
    if (error !== undefined) throw new Error(`QEMU does not answer ${execute}: ${error.desc ?? ""}`);
    return value;
  }
}

const opened = (path: string): Promise<Socket | undefined> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once("error", () => resolve(undefined)).once("connect", () => resolve(socket.removeAllListeners("error")));
  });

/**
 * Resolves when the guest's vsock driver is up. `path` is the socket of QEMU's monitor, which may not be there yet. Rejects when QEMU
 * cannot tell (before version 7.2), ends, or the signal is raised.
 */
export const vsockDriverUp = async (path: string, signal: AbortSignal): Promise<void> => {
  let socket = await opened(path);
  for (; socket === undefined; socket = await opened(path)) await sleep(ASK_AGAIN_MS, undefined, { signal });
  try {
    const monitor = new Monitor(socket);
    await monitor.ask("qmp_capabilities");
    const devices = (await monitor.ask("x-query-virtio")) as { name: string; path: string }[];
    const device = devices.find(({ name }) => name.includes("vsock"));
    if (device === undefined) throw new Error("the VM has no vsock device");
    for (;;) {
      const { status } = (await monitor.ask("x-query-virtio-status", { path: device.path })) as { status: { statuses: string[] } };
      if (status.statuses.some((word) => word.includes("DRIVER_OK"))) return;
      await sleep(ASK_AGAIN_MS, undefined, { signal });
    }
  } finally {
    socket.destroy();
  }
};
