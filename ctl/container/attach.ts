// Joins a process in a guest to our own stdin, stdout and stderr: plain pipes or a raw terminal that follows its size. Each direction
// goes its own way, and none waits in a system call: a reader of ours that rests holds back the process, and nothing else.
// It owns the terminal's mode while it runs and always gives it back.
import type { Readable, Writable } from "node:stream";
import type { AgentClient } from "../client/agent-client.js";
import { readStream, writeStream, type ProcessName } from "../client/stdio.js";
import { neverWait, rawTerminal } from "./terminal.js";

export interface AttachOptions {
  terminal: boolean;
  /** Send our standard input; else the process's is closed at once. */
  interactive: boolean;
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Makes our terminal raw and returns what undoes it. */
  makeRaw?: () => () => void;
  /** Raised when our user wants to leave: what nobody takes from us is dropped then, of a terminal at once, of pipes when the process has ended. */
  leave?: AbortSignal;
}

/** So long a reader may take for one piece when our user wants to leave. */
const PATIENCE_MS = 1_000;

/** Our own end of an output: resolves when a piece has been taken, or when nobody will take it any more. */
const outlet = (out: Writable, hurry: AbortSignal): ((data: Uint8Array) => Promise<void>) => {
  let open = true;
  let drop: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  const count = (): void => {
    if (drop !== undefined) timer = setTimeout(drop, PATIENCE_MS);
  };
  hurry.addEventListener("abort", count, { once: true });
  return async (data) => {
    // When our own reader has gone the rest is still read, so that the process can end.
    if (!open || out.destroyed || out.writableEnded) return;
    open = await new Promise<boolean>((resolve) => {
      drop = () => resolve(false);
      if (hurry.aborted) count();
      out.write(Buffer.from(data), (error) => resolve(!error));
    });
    drop = undefined;
    clearTimeout(timer);
  };
};

const followSize = (client: AgentClient, process_: ProcessName, out: Writable): (() => void) => {
  const screen = out as NodeJS.WriteStream;
  const tell = (): void => {
    if (screen.columns > 0) void client.ttyWinResize({ ...process_, row: screen.rows, column: screen.columns }).catch(() => undefined);
  };
  tell();
  screen.on("resize", tell);
  return () => void screen.off("resize", tell);
};

/** The size of the terminal that `out` is, for a process that is about to be made; nothing where it is none. */
export const sizeOf = (out: Writable = process.stdout): { consoleSize?: { height: number; width: number } } => {
  const { rows, columns } = out as NodeJS.WriteStream;
  return columns > 0 ? { consoleSize: { height: rows, width: columns } } : {};
};

/** Sends our input to the process. A terminal that is hung up ends it as the end of a file does. */
const send = async (client: AgentClient, name: ProcessName, stdin: Readable): Promise<void> => {
  try {
    await writeStream(client, name, stdin as AsyncIterable<Uint8Array>);
  } catch {
    await client.closeStdin(name).catch(() => undefined);
  }
};

/**
 * Carry the streams until the process's outputs have ended, then wait for its exit status, which is the result.
 * Rejects with RpcError when the agent or the connection fails.
 */
export const attach = async (client: AgentClient, name: ProcessName, options: AttachOptions): Promise<number> => {
  const stdin = options.stdin ?? process.stdin;
  const stdout = options.stdout ?? process.stdout;
  const stderr = options.stderr ?? process.stderr;
  const undo: (() => void)[] = [];
  const copy = (which: "stdout" | "stderr", to: Writable): Promise<void> => readStream(client, name, which, outlet(to, hurry.signal));
  let ended: Promise<number> | undefined;
  const whenEnded = (): Promise<number> => (ended ??= client.waitProcess(name).then(({ status }) => status));
  const hurry = new AbortController();
  // A program that writes to a full terminal does not even notice a signal it handles; one that writes to a pipe can be sent a second.
  const onLeave = (): void => void (options.terminal ? Promise.resolve() : whenEnded()).then(() => hurry.abort(), () => undefined);
  for (const stream of [stdout, stderr]) neverWait(stream);
  const onStreamError = (): void => undefined;
  for (const stream of [stdin, stdout]) {
    stream.on("error", onStreamError);
    undo.push(() => void stream.off("error", onStreamError));
  }
  if (options.leave?.aborted === true) onLeave();
  options.leave?.addEventListener("abort", onLeave, { once: true });
  undo.push(() => options.leave?.removeEventListener("abort", onLeave));
  try {
    if (options.terminal) {
      undo.push(followSize(client, name, stdout));
      if (options.interactive && (stdin as { isTTY?: boolean }).isTTY === true) undo.push((options.makeRaw ?? rawTerminal)());
    }
    if (options.interactive) {
      void send(client, name, stdin);
      undo.push(() => {
        stdin.pause();
        stdin.destroy();
      });
    } else if (!options.terminal) await client.closeStdin(name).catch(() => undefined);
    await Promise.all([copy("stdout", stdout), ...(options.terminal ? [] : [copy("stderr", stderr)])]);
    return await whenEnded();
  } finally {
    for (const step of undo.reverse()) step();
  }
};
