// WriteStdin, ReadStdout, ReadStderr, CloseStdin, TtyWinResize. The bytes of a reply are read from the pipe straight into the
// reply buffer; a request's bytes go from the receive buffer straight into the pipe. Nothing is kept in between: a slow
// reader leaves its bytes in the pipe, and the writer waits there.
import type { Sandbox } from "../../sandbox/sandbox.js";
import { E } from "../../abi/errno.js";
import { SysError } from "../../sys/call.js";
import { AppError } from "../../lib/errors.js";
import type { Call } from "../call.js";
import { type Handlers, LATER } from "../methods.js";
import { DATA_AT, MAX_READ } from "../reply.js";
import type { OutStream, InStream } from "../../engine/stdio/streams.js";

/** What a pipe holds. See pipe(7). */
const USUAL = 65536;

/** Answers with what the stream has; waits for it without holding anything but the call. */
function answerRead(stream: OutStream, length: number, call: Call): void {
  const want = Math.min(length, MAX_READ);
  const attempt = (): void => {
    if (call.done) return stream.doneWaiting();
    if (!call.writable) return call.whenWritable(attempt);
    const most = want <= USUAL ? want : Math.min(want, Math.max(USUAL, stream.unread())); // what is asked for need not be there
    const n = most === 0 ? 0 : stream.readInto(call.room(most), DATA_AT, most);
    if (n === -E.EAGAIN) return stream.whenReadable(attempt);
    if (n < 0) call.fail(new SysError("read", -n));
    else call.replyBytes(n);
    stream.doneWaiting();
  };
  stream.take(attempt);
  call.onCancel = () => stream.giveUp(attempt);
}

/** Writes everything, in the order in which the calls came, and answers with the number of bytes. */
function answerWrite(stream: InStream, data: Uint8Array, call: Call): { len: number } | typeof LATER {
  const { length } = data;
  stream.admit(length);
  const n = stream.writeNow(data);
  const before = __DEBUG__ ? (call.carried?.done ?? 0) : 0;
  if (n === length) return { len: __DEBUG__ ? n + before : n };
  // the receive buffer is used again when this returns; nothing that waits may refer to it
  const write = stream.write(data.slice(Math.max(0, n)), (error) => {
    if (error !== undefined) call.fail(error);
    else call.reply({ len: __DEBUG__ ? length + before : length });
  });
  call.onCancel = () => stream.giveUp(write);
  if (__DEBUG__ && call.carried !== undefined) call.carried.rest = () => write.rest;
  return LATER;
}

/** For WriteStdin every failed lookup is INTERNAL, in these words. */
function inputOf(sandbox: Sandbox, containerId: string, execId: string): InStream | undefined {
  try {
    return sandbox.input(containerId, execId);
  } catch (error) {
    const part = error instanceof AppError ? error.part : undefined;
    throw new AppError("internal", part === "container id" ? "Invalid container id" : `Process not found: ${part === "first process" ? "init process missing" : "invalid exec id"}`);
  }
}

/** The handlers of the streams of `sandbox`'s processes. */
export function stdio(sandbox: Sandbox): Handlers<"stdio"> {
  const read = (name: "stdout" | "stderr") => (request: { containerId: string; execId: string; len: number }, call: Call): typeof LATER => {
    const stream = sandbox.output(request.containerId, request.execId, name);
    if (stream === undefined) call.replyBytes(0);
    else answerRead(stream, request.len, call);
    return LATER;
  };
  return {
    ReadStdout: read("stdout"),
    ReadStderr: read("stderr"),
    WriteStdin: (request, call) => {
      const input = inputOf(sandbox, request.containerId, request.execId);
      const { data } = request;
      if (data.length === 0) {
        input?.end(); // asked for twice is no error
        return { len: 0 };
      }
      if (input === undefined) throw new AppError("internal", "Cannot get writer");
      return answerWrite(input, data, call);
    },
    CloseStdin: (request) => {
      sandbox.input(request.containerId, request.execId)?.end();
    },
    TtyWinResize: (request) => {
      sandbox.resize(request.containerId, request.execId, request.row, request.column);
    },
  };
}
