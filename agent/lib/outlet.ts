// A standard stream as a way out for lines, which never waits for who reads it: what does not fit is dropped and counted. A pipe, a
// terminal or another device is opened anew, because O_NONBLOCK on a descriptor is for all who share the open file, and others may.
// See open(2), fcntl(2), tty_ioctl(4); a console that the kernel opened for init does not block, but its neighbours may change that.
import { AT, CLOCK, EPOLL, F, MSG, O, S } from "../abi/flags.js";
import { sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { modeOf } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { pollAll } from "../sys/poll.js";
import { clockMs } from "../sys/system.js";

const NONE = -1;
/**
 * The part of its time that the agent may spend in writes to a terminal, and how many milliseconds of it may come at once. A virtual
 * machine's serial console takes from three to forty microseconds of the guest's processor for each byte, before write(2) returns: who
 * makes lines faster than that (calls that fail) would take all of it.
 */
const TERMINAL_SHARE = 0.25;
const TERMINAL_MS = 250;
/** Milliseconds between two lines about others that were lost. */
const TELL_MS = 1000;

export class Outlet {
  /** Where it writes; -1: nowhere. */
  n: number;
  /** Lines that nobody got, whole or in part, since the last time somebody asked. */
  lost = 0;
  #socket = false;
  #torn = false; // the last line went out in part
  #paced = false; // a terminal
  #room = TERMINAL_MS; // milliseconds that it may still take
  #since = 0;
  #told = -TELL_MS;
  /** Whoever wants every line, whatever it costs. */
  unbounded = false;

  /** For standard stream `n`, which it leaves alone. */
  constructor(n: number) {
    this.n = n;
    let kind;
    try {
      kind = modeOf(n) & S.IFMT;
    } catch {
      return; // there is no such stream
    }
    this.#socket = kind === S.IFSOCK;
    this.#paced = kind === S.IFCHR;
    if (kind !== S.IFIFO && kind !== S.IFCHR) return;
    const own = sys(NR.openat, AT.FDCWD, `/proc/self/fd/${n}`, O.WRONLY | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0);
    if (own > 2) this.n = own;
    else if (own >= 0) sys(NR.close, own); // the number of a stream that is closed: not ours to take
    // without /proc it is too early for anybody to depend on this process
    if (own <= 2 && own !== -E.ENOENT && (sys(NR.fcntl, n, F.GETFL, 0) & O.NONBLOCK) === 0) this.n = NONE;
  }

  /**
   * Writes what `say` makes of the number of lines that were lost, but not with each line that follows. False when it did not fit, true
   * also when there is nothing to tell.
   */
  tellLost(say: (lost: number) => Uint8Array, urgent: boolean): boolean {
    const { lost } = this;
    if (lost === 0 || this.n < 0) return true;
    const now = clockMs(CLOCK.MONOTONIC);
    if (now - this.#told < TELL_MS) return true;
    if (!this.write(say(lost), 0, urgent)) return false;
    this.#told = now;
    this.lost -= lost;
    return true;
  }

  /**
   * Writes a line, which ends in a newline; false when it, or a part of it, did not fit within `ms` milliseconds, or a terminal has no
   * time for it. What is urgent may take as much time again.
   */
  write(line: Uint8Array, ms = 0, urgent = false): boolean {
    if (!this.#paced || ms > 0 || this.unbounded) return this.#write(line, ms);
    const begin = clockMs(CLOCK.MONOTONIC);
    this.#room = Math.min(TERMINAL_MS, this.#room + (begin - this.#since) * TERMINAL_SHARE);
    this.#since = begin;
    if (this.#room <= (urgent ? -TERMINAL_MS : 0)) {
      this.lost++;
      return false;
    }
    const written = this.#write(line, 0);
    this.#room = Math.max(-2 * TERMINAL_MS, this.#room - (clockMs(CLOCK.MONOTONIC) - begin)); // a machine may be stopped in between
    return written;
  }

  #write(line: Uint8Array, ms: number): boolean {
    let rest = this.#torn ? new Uint8Array([10, ...line]) : line;
    for (let tries = ms > 0 ? 8 : 1; tries > 0 && rest.length > 0 && this.n !== NONE; ) {
      const n = this.#socket ? sys(NR.sendto, this.n, rest, rest.length, MSG.DONTWAIT | MSG.NOSIGNAL, null, 0) : sys(NR.write, this.n, rest, rest.length);
      if (n > 0) this.#torn = n < rest.length;
      if (n > 0) rest = rest.subarray(n);
      if (rest.length === 0) return true;
      tries--;
      if (tries > 0) pollAll([[this.n, EPOLL.OUT]], ms / 8);
    }
    this.lost++;
    return false;
  }
}
