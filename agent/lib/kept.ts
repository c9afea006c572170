// What a program leaves to the one that takes its place by execve(2): descriptors, which stay open under their numbers, and a record as
// text. JSON has no words for bytes, for numbers of 64 bits and for infinity: they are texts that begin with a NUL, and so is a text that
// does so itself. See execve(2), fcntl(2) F_SETFD.
import { F, FD } from "../abi/flags.js";
import { isErrno } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { Fd } from "../sys/fd.js";
import { fcntl } from "../sys/file.js";
import { AppError } from "./errors.js";

/** Descriptors that the next program is to have. */
export class Kept {
  readonly numbers = new Set<number>();

  /** The number that a record names it by; -1 for one that is closed, or none. */
  keep(fd: Fd | undefined): number {
    if (fd === undefined || !fd.open) return -1;
    this.numbers.add(fd.n);
    return fd.n;
  }

  /** With `open` they stay open over execve(2). Throws SysError. */
  stay(open: boolean): void {
    for (const n of this.numbers) fcntl(n, F.SETFD, open ? 0 : FD.CLOEXEC);
  }
}

/** The same descriptors in the next program: each is taken by its new owner, once. */
export class Left {
  readonly #rest: Set<number>;
  readonly #later: (() => void)[] = [];

  /** Closes them on the execve(2) after this. Throws AppError "internal" when one is not open. */
  constructor(numbers: readonly number[]) {
    for (const n of numbers) {
      try {
        fcntl(n, F.SETFD, FD.CLOEXEC);
      } catch (error) {
        throw isErrno(error, E.EBADF) ? new AppError("internal", `descriptor ${n} of the record is not open`) : error;
      }
    }
    this.#rest = new Set(numbers);
  }

  /** A closed one for -1. Throws AppError "internal" for a number that the record does not list, or that has an owner. */
  take(n: number): Fd {
    if (n !== -1 && !this.#rest.delete(n)) throw new AppError("internal", `descriptor ${n} is not one of the record's, or is in it twice`);
    return new Fd(n);
  }

  /** The same for what may not be there. */
  takeIf(n: number): Fd | undefined {
    return n === -1 ? undefined : this.take(n);
  }

  /** Does `step` when everything is there again and the calls that waited have been asked once more. */
  later(step: () => void): void {
    this.#later.push(step);
  }

  /** Does what was to be done later; the numbers of descriptors that nobody has taken, which are closed. */
  done(): number[] {
    for (const step of this.#later) step();
    const rest = [...this.#rest];
    this.#rest.clear();
    for (const n of rest) new Fd(n).close();
    return rest;
  }
}

const PIECE = 8192; // arguments of one call

function textOfBytes(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += PIECE) parts.push(String.fromCharCode(...bytes.subarray(at, at + PIECE)));
  return parts.join("");
}

function bytesOfText(text: string, from: number): Uint8Array {
  const bytes = new Uint8Array(text.length - from);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(from + i);
  return bytes;
}

/** A value of plain objects, lists, texts, numbers and bytes as JSON. What is undefined is left out. */
export function toRecord(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return `\0b${textOfBytes(part)}`;
    if (typeof part === "bigint") return `\0n${part}`;
    if (part === Infinity) return "\0i";
    return typeof part === "string" && part.startsWith("\0") ? `\0s${part}` : part;
  });
}

/** The value of `toRecord`. Throws SyntaxError. */
export function fromRecord(text: string): unknown {
  return JSON.parse(text, (_, part: unknown) => {
    if (typeof part !== "string" || !part.startsWith("\0")) return part;
    switch (part[1]) {
      case "b": return bytesOfText(part, 2);
      case "n": return BigInt(part.slice(2));
      case "i": return Infinity;
      default: return part.slice(2);
    }
  });
}
