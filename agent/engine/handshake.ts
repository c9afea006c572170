// What the parent and the child of a clone say to each other, over a socket pair that keeps messages apart (SOCK_SEQPACKET):
//
//     parent                         child
//       │        clone3                │  joins cgroups and namespaces, builds the mount tree, changes the root
//       │─── go ──────────────────────▶│  first of all, and only if it has to wait: its id maps are written, its resctrl group and its network
//       │                              │  devices are there
//       │◀────────── map {tree, ids} ──│  only with a user namespace: numbers of a copy of mounts and of the namespace whose ids it is to have
//       │◀────────── open {base, path} │  or a path that the child may not follow, from its descriptor `base`; as often as there are such mounts
//       │─── (a descriptor) ──────────▶│  that copy, or what the path leads to
//       │◀────────── hooks ────────────│  only with prestart or createRuntime hooks: the mount tree stands, the root is the old
//       │─── go ──────────────────────▶│  they have been run
//       │◀────────── notify {fd} ──────│  only with a seccomp filter that asks somebody: fd is its listener, which the parent takes
//       │─── go ──────────────────────▶│  who asked for it has it
//       │◀────────── ready {ptmx} ─────│  everything is prepared; ptmx: number of the terminal's master, or -1
//       │                              │  waits (the first process of a container; a further process goes on)
//       │◀────────── born {pid} ───────│  only where others are in its pid namespace (last-steps.ts): the process is another one now,
//       │                              │  which this one has made there. It says ready (if it does) before, and is told to go on by `go`
//       │─── go ──────────────────────▶│  to the new process: the parent has it
//       │─── go ──────────────────────▶│  only with a start socket: the child goes on with whoever connects there, and the parent may leave
//       │─── start ───────────────────▶│
//       │◀── (end of file) ────────────│  execve has closed the child's end: the program runs
//
// At any time the child may say `failed {what, call, errno}` instead and leave. What is out of turn is an error.
import { EPOLL, MSG, SOCK } from "../abi/flags.js";
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, handOver } from "../sys/fd.js";
import { dup3, readRaw, setNonblock } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { type Cloned, exitGroup } from "../sys/process.js";
import { acceptNext, receiveFds, socketpair } from "../sys/socket.js";
import { viewOf } from "../sys/struct.js";
import { fromOthers } from "../sys/utf8.js";
import { AppError, because, type ErrorKind, type ErrorPart, kindOf, messageOf, partOf } from "../lib/errors.js";
import { after, type Timer, watch } from "../lib/loop.js";
import { deferred } from "../lib/async.js";
import { AGENT, COMMAND_LINE, type Judgement } from "../oci/judgement.js";

/** What a child in a user namespace asks for its mounts. */
export type Ask =
  | { readonly say: "map"; readonly tree: number; readonly ids: number; readonly how: number; readonly path: string }
  | { readonly say: "open"; readonly base: number; readonly path: string; readonly follow: boolean };
export type Said = Ask | { readonly say: "ready"; readonly ptmx: number } | { readonly say: "hooks" } | { readonly say: "notify"; readonly fd: number } | Born | { readonly say: "end" };
/** A process that the child has made: its pid, and the number of a pidfd for it in the child. */
export interface Born { readonly say: "born"; readonly pidfd: number; readonly pid: number }
interface Failure { readonly say: "failed"; readonly kind: ErrorKind; readonly part: ErrorPart | undefined; readonly what: string }

/** What the failure of one of the last steps is told as, in three bytes: 0, the errno, and this. See exec-stub.ts. */
export const enum Failed { PROGRAM = 0, CLONE = 1, OTHER = 2, LABEL = 3, FILTER = 4, LIMIT = 5 }

const MESSAGE_MAX = 4096;
const LOOK_MS = 1000;
let buffer: Uint8Array | undefined; // messages are understood as they come, so one buffer does

/** The parent's end of a connection to the start socket of a child that waits to be started. */
export function channelOver(connected: Fd): Channel {
  const channel = new Channel(connected);
  channel.judgement = COMMAND_LINE;
  return channel;
}

/** The two ends; the child's closes at execve. */
export function pair(): { parent: Channel; child: ChildEnd } {
  const [a, b] = socketpair(SOCK.SEQPACKET);
  return handOver(a, () => handOver(b, () => {
    setNonblock(a);
    return { parent: new Channel(a), child: new ChildEnd(b) };
  }));
}

/** The parent's end: never waits, answers through the loop. */
export class Channel {
  /** What the child is to become, for the error when it cannot. */
  program = "";
  /** Who reads the error. */
  judgement = AGENT;

  constructor(readonly fd: Fd) {}

  /** Sends `go` or `start`; false when the child is gone. Throws SysError when it cannot be sent: then the child would wait for ever. */
  tell(word: "go" | "start"): boolean {
    const bytes = native.utf8Encode(word);
    const n = sys(NR.sendto, this.fd.n, bytes, bytes.length, MSG.NOSIGNAL, null, 0);
    if (n < 0 && n !== -E.EPIPE && n !== -E.ECONNRESET) throw new SysError("sendto", -n);
    return n >= 0;
  }

  /**
   * The child's next message, or its end of file. Rejects with what the child says has failed, or with kind "deadline". Throws when
   * it cannot be waited for. `look` is called once a second meanwhile; what it throws, this rejects with.
   */
  next(what: string, ms: number, look?: () => void): Promise<Said> {
    const result = deferred<Said>();
    let left = ms;
    let timer: Timer | undefined;
    const settle = (go: () => void): void => {
      timer?.cancel();
      watching.close();
      go();
    };
    const slice = (): number => (look === undefined ? left : Math.min(left, LOOK_MS));
    const tick = (): void => {
      try {
        look?.();
        left -= slice();
        if (left <= 0) throw new AppError("deadline", `${what}: not finished after ${ms} ms`);
        timer = after(slice(), tick);
      } catch (error) {
        settle(() => result.reject(error));
      }
    };
    const watching = watch(this.fd.n, EPOLL.IN, () => {
      const bytes = (buffer ??= new Uint8Array(MESSAGE_MAX));
      const n = readRaw(this.fd.n, bytes, 0, bytes.length);
      if (n === -E.EAGAIN) return;
      settle(() => {
        try {
          result.resolve(understand(n, bytes, this));
        } catch (error) {
          result.reject(error);
        }
      });
    }, (error) => settle(() => result.reject(error)));
    timer = after(slice(), tick);
    return result.promise;
  }

  close(): void {
    this.fd.close();
  }
}

function understand(n: number, buffer: Uint8Array, { program, judgement }: Channel): Said {
  if (n === 0 || n === -E.ECONNRESET) return { say: "end" };
  if (n < 0) throw new SysError("recv from the child", -n);
  if (n === 3 && buffer[0] === 0) throw stubFailed(buffer[1] as number, buffer[2] as Failed, program, judgement);
  if (n === BORN_BYTES) return bornIn(buffer);
  const said = JSON.parse(fromOthers(native.utf8Decode(buffer, 0, n) ?? "{}")) as Said | Failure;
  if (said?.say === "failed") throw new AppError(kindOf(said.kind), String(said.what), undefined, partOf(said.part));
  return said;
}

/**
 * Is it that word's turn? `heard` has what has been said; `may` is what can be said at all. Each word comes at most once: from "born" on,
 * whoever may trace the process can speak for it. Throws AppError.
 */
export function inTurn(said: Said, heard: Set<Said["say"]>, may: readonly (Said["say"] | false)[]): void {
  if (typeof said?.say !== "string" || (said.say !== "end" && (!may.includes(said.say) || heard.has(said.say)))) throw new AppError("internal", `the child said ${String(said?.say)} out of turn`);
  heard.add(said.say);
}

const BORN_BYTES = 16; // a pidfd's number and a pid, each as 8 bytes: no other message is as short

function bornIn(buffer: Uint8Array): Born {
  const view = viewOf(buffer);
  return { say: "born", pidfd: view.getInt32(0, true), pid: view.getInt32(8, true) };
}

/** The calls of the last steps that may fail, and what of the configuration each is for; by kind. */
const LAST: readonly (readonly [field: string, call: string])[] = [
  ["", "execve"], ["make the process", "clone"], ["the last steps before the program", "system call"], ["the process's AppArmor profile or SELinux label", "write"], ["linux.seccomp", "seccomp"], ["process.rlimits", "prlimit64"],
];

/** What the stub could not do (exec-stub.ts); a command's callers look for other words than hosts. */
function stubFailed(errno: number, what: Failed, program: string, { programErrors }: Judgement): AppError {
  const [field, call] = LAST[what] ?? ["", ""];
  if (what === Failed.PROGRAM && programErrors === "words") return new AppError("internal", `exec ${program}: ${inWords(errno)}`);
  if (what === Failed.CLONE && errno === E.ENOMEM) return new AppError("precondition", "the pid namespace to be born in is gone: its first process has ended");
  return because(what === Failed.PROGRAM ? `exec "${program}"` : field, new SysError(call, errno));
}

/** "no such file or directory": callers of runtimes look for these words. */
function inWords(errno: number): string {
  const { code, message } = new SysError("", errno);
  const text = message.slice(code.length + 4);
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** The child's end: synchronous. */
export class ChildEnd {
  constructor(readonly fd: Fd) {}

  /** Leaves the parent, which has taken all it wanted, and goes on with whoever connects to `startSocket`, which listens; false when the parent is gone before that. */
  open(startSocket: Fd, left: () => void): boolean {
    if (!this.wait("go")) return false;
    left();
    const next = acceptNext(startSocket);
    dup3(next, this.fd.n); // under the old number, which others know
    next.close();
    return true;
  }

  ready(ptmx: number): void {
    this.#send({ say: "ready", ptmx });
  }

  /** This process has made the one that the parent wants. */
  born({ pid, pidfd }: Cloned): void {
    const bytes = new Uint8Array(BORN_BYTES);
    viewOf(bytes).setInt32(0, pidfd.n, true);
    viewOf(bytes).setInt32(8, pid, true);
    this.#write(bytes);
  }

  /** Asks the parent for something about mounts; what it sends. Ends the process when it is gone. Throws AppError for a path that is too long. */
  ask(message: Ask): Fd {
    const bytes = native.utf8Encode(JSON.stringify(message));
    if (bytes.length > MESSAGE_MAX) throw new AppError("invalid", "source: the path is too long");
    this.#write(bytes);
    sys(NR.recvfrom, this.fd.n, bytes, 1, MSG.PEEK, null, null);
    return receiveFds(this.fd, 1)[0] ?? exitGroup(1);
  }

  /** Asks the parent to run its hooks. */
  hooks(): void {
    this.#send({ say: "hooks" });
  }

  /** What sends `notify` with one write(2): the filter that is loaded before it may forbid or trap every other call. */
  notifier(fd: number): () => void {
    const bytes = native.utf8Encode(JSON.stringify({ say: "notify", fd }));
    return () => this.#write(bytes);
  }

  failed(error: unknown): void {
    const { kind, part } = error instanceof AppError ? error : { kind: "internal", part: undefined } as const;
    this.#send({ say: "failed", kind, part, what: messageOf(error).slice(0, 1000) });
  }

  /** Waits for `word`; false when the parent is gone. */
  wait(word: "go" | "start"): boolean {
    const buffer = new Uint8Array(16);
    const n = readRaw(this.fd.n, buffer, 0, buffer.length);
    return n > 0 && native.utf8Decode(buffer, 0, n) === word;
  }

  #send(message: Said | Failure): void {
    this.#write(native.utf8Encode(JSON.stringify(message)));
  }

  /** By write(2), which every filter has to allow; where it does not, or nobody reads, the child ends here. */
  #write(bytes: Uint8Array): void {
    if (sys(NR.write, this.fd.n, bytes, bytes.length) < 0) exitGroup(1);
  }
}
