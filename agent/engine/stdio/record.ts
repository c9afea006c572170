// The streams of a process in a record, and taken up from one by the agent's next program. Who reads or writes at the moment is not in
// it: the calls are asked again (rpc/record.ts), and then wait at the same places.
import type { Fd } from "../../sys/fd.js";
import type { Kept, Left } from "../../lib/kept.js";
import { OutStream, Streams } from "./streams.js";

interface OutRecord {
  readonly fd: number;
  /** What may still be read of it. */
  readonly left: number;
  readonly ended: boolean;
  readonly used: boolean;
  readonly over: boolean;
}

export interface StreamsRecord {
  readonly terminal: boolean;
  /** The process has ended. */
  readonly ended: boolean;
  /** `fd` is -1 of a terminal, whose descriptor is the output's; `last` is the byte that was written last. */
  readonly stdin: { readonly fd: number; readonly last: number; readonly ending: "no" | "soon" | "yes" };
  readonly stdout: OutRecord;
  readonly stderr?: OutRecord;
}

function saveOut(stream: OutStream, kept: Kept): OutRecord {
  return { fd: kept.keep(stream.fd), left: stream["left"], ended: stream["ended"], used: stream.used, over: stream.over };
}

function restoreOut(record: OutRecord, fd: Fd): OutStream {
  const stream = new OutStream(fd);
  stream["left"] = record.left;
  stream["ended"] = record.ended;
  stream.used = record.used;
  stream.over = record.over;
  return stream;
}

/** What is there of them now. */
export function saveStreams(streams: Streams, kept: Kept): StreamsRecord {
  const { terminal, stdout, stderr } = streams;
  const input = streams["input"];
  const ending = !input.ending ? "no" : input["queue"].size > 0 ? "soon" : "yes";
  return {
    terminal,
    ended: streams["ended"],
    stdin: { fd: terminal ? -1 : kept.keep(input.fd), last: input["last"], ending },
    stdout: saveOut(stdout, kept),
    ...(stderr === undefined ? {} : { stderr: saveOut(stderr, kept) }),
  };
}

/** The same streams again. */
export function restoreStreams(record: StreamsRecord, left: Left): Streams {
  const { stdin, stdout: out, stderr: err, terminal } = record;
  const stdout = restoreOut(out, left.take(out.fd));
  const stderr = err === undefined ? undefined : restoreOut(err, left.take(err.fd));
  const streams = new Streams(terminal ? stdout.fd : left.take(stdin.fd), stdout, stderr, terminal);
  const input = streams["input"];
  streams["ended"] = record.ended;
  input["last"] = stdin.last;
  if (stdin.ending === "yes") input.ending = true;
  if (stdin.ending === "soon") left.later(() => input.end()); // behind those who were there before the end was asked for
  return streams;
}
