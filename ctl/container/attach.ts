// Joins a process in a guest to our own stdin, stdout and stderr: plain pipes or a raw terminal that follows its size.
// It owns the terminal's mode while it runs and always gives it back.
import type { Readable, Writable } from "node:stream";
import type { AgentClient } from "../client/agent-client.js";
import { readStream, writeStream, type ProcessName } from "../client/stdio.js";
import { rawTerminal } from "./terminal.js";

export interface AttachOptions {
  terminal: boolean;
  /** Send our standard input; else the process's is closed at once. */
  interactive: boolean;
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Makes our terminal raw and returns what undoes it. */
  makeRaw?: () => () => void;
}

// Resolves when the piece is taken; a reader that went away (EPIPE) makes it false.
const give = (out: Writable, data: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    if (out.destroyed || out.writableEnded) return resolve(false);
    out.write(Buffer.from(data), (error) => resolve(!error));
  });

const followSize = (client: AgentClient, process_: ProcessName, out: Writable): (() => void) => {
  const screen = out as NodeJS.WriteStream;
  const tell = (): void => {
    if (screen.columns > 0) void client.ttyWinResize({ ...process_, row: screen.rows, column: screen.columns }).catch(() => undefined);
  };
  tell();
  screen.on("resize", tell);
  return () => void screen.off("resize", tell);
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
  const copy = (which: "stdout" | "stderr", to: Writable): Promise<void> => {
    let open = true;
    // When our own reader has gone the rest is still read, so that the process can end.
    return readStream(client, name, which, async (data) => {
      if (open) open = await give(to, data);
    });
  };
  const onPipeError = (): void => undefined;
  stdout.on("error", onPipeError);
  undo.push(() => void stdout.off("error", onPipeError));
  try {
    if (options.terminal) {
      undo.push(followSize(client, name, stdout));
      if (options.interactive && (stdin as { isTTY?: boolean }).isTTY === true) undo.push((options.makeRaw ?? rawTerminal)());
    }
    if (options.interactive) {
      void writeStream(client, name, stdin as AsyncIterable<Uint8Array>).catch(() => undefined);
      undo.push(() => {
        stdin.pause();
        stdin.destroy();
      });
    } else if (!options.terminal) await client.closeStdin(name).catch(() => undefined);
    await Promise.all([copy("stdout", stdout), ...(options.terminal ? [] : [copy("stderr", stderr)])]);
    return (await client.waitProcess(name)).status;
  } finally {
    for (const step of undo.reverse()) step();
  }
};
