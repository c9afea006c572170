// Streams of a process in a guest, as loops over the stdio calls. It owns the rules of these calls: empty data is the end,
// one write is at most so long, an error on a read ends the stream as the end of file does.
// It never waits for the process itself.
import type { AgentClient } from "./agent-client.js";
import { CODE, RpcError } from "./rpc-error.js";

/** Which process: exec_id is that of the exec, or the container's id for its first process. */
export interface ProcessName {
  containerId: string;
  execId: string;
}

/** Bytes asked for by one read and sent by one write. */
export const CHUNK = 32 * 1024;

/**
 * Read a stream to its end; `sink` gets each piece and may return a promise that holds the next read back.
 * Rejects with RpcError when the agent or the connection fails.
 */
export const readStream = async (
  client: AgentClient,
  process: ProcessName,
  which: "stdout" | "stderr",
  sink: (data: Uint8Array) => void | Promise<void>,
  chunk = CHUNK,
): Promise<void> => {
  const request = { ...process, len: chunk };
  for (;;) {
    const { data } = await (which === "stdout" ? client.readStdout(request) : client.readStderr(request));
    if (data.length === 0) return;
    await sink(data);
  }
};

/** All bytes of a stream up to its end. For tests and small outputs: everything is held in memory. */
export const collectStream = async (client: AgentClient, process: ProcessName, which: "stdout" | "stderr"): Promise<Buffer> => {
  const pieces: Uint8Array[] = [];
  await readStream(client, process, which, (data) => void pieces.push(Buffer.from(data)));
  return Buffer.concat(pieces);
};

// The process may end while its input is still being sent; that is no fault of the sender.
const isGone = (error: unknown): boolean =>
  error instanceof RpcError && [CODE.NOT_FOUND, CODE.INVALID_ARGUMENT, CODE.INTERNAL, CODE.FAILED_PRECONDITION].some((code) => code === error.code);

/**
 * Send `source` to the process's standard input, then close it. Ends early, without error, when the process takes no more.
 * Rejects with RpcError when the connection fails.
 */
export const writeStream = async (client: AgentClient, process: ProcessName, source: AsyncIterable<Uint8Array>): Promise<void> => {
  try {
    for await (const piece of source) {
      for (let at = 0; at < piece.length; at += CHUNK) {
        await client.writeStdin({ ...process, data: piece.subarray(at, at + CHUNK) });
      }
    }
    await client.closeStdin(process);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
};
