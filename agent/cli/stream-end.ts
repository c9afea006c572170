// One end of a copy between the caller's streams and a container's terminal: it is read from or written to without ever waiting,
// and says when that is worth another try. The caller's descriptors are shared with whoever started this command (a shell, say),
// so their flags stay as they are: a pipe or terminal is opened anew for this process alone, a socket is told with each call.
// See open(2), O_NONBLOCK; send(2), MSG_DONTWAIT; epoll(7), EPOLLONESHOT.
import { EPOLL, F, MSG, O, S } from "../abi/flags.js";
import { isErrno, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { Fd, fdPath } from "../sys/fd.js";
import { modeOf, open } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { isHungUp } from "../sys/poll.js";
import { isMaster, isTerminal } from "../sys/tty.js";
import { after, type Timer, watch, type Watch } from "../lib/loop.js";

export type Way = "read" | "write";

/** How a descriptor is kept from waiting: it never does; it has flags of its own; each call says so; flags are set around each call. */
type Manner = "as it is" | "socket" | "borrowed";

export class StreamEnd {
  #watch: Watch | undefined;
  #later: Timer | undefined;
  #pollable = true;
  #manner: Manner = "as it is";
  readonly #fd: Fd;
  readonly #number: number;

  /** `fd`: a descriptor of this process that does not wait, which becomes the end's own; or the number of one of the caller's. */
  constructor(fd: Fd | number, readonly way: Way) {
    if (typeof fd === "number") {
      const own = this.#anew(fd);
      this.#fd = own ?? new Fd(-1);
      this.#number = own?.n ?? fd;
    } else {
      this.#fd = fd;
      this.#number = fd.n;
    }
  }

  /** The same pipe or terminal with flags of its own; undefined where there is none to be had, or none is needed. */
  #anew(n: number): Fd | undefined {
    const type = modeOf(n) & S.IFMT;
    if (type === S.IFSOCK) this.#manner = "socket";
    if (type !== S.IFIFO && !(type === S.IFCHR && isTerminal(n))) return undefined; // never waits, or (a file) not for somebody else
    if (isMaster(n)) this.#manner = "borrowed"; // opening that one anew would make another terminal
    else try {
      return open(fdPath(n), (this.way === "read" ? O.RDONLY : O.WRONLY) | O.NONBLOCK | O.NOCTTY);
    } catch {
      this.#manner = "borrowed"; // another user's terminal, no /proc
    }
    return undefined;
  }

  /** One read(2) or write(2): the number of bytes, or the negative errno (EAGAIN: not now). */
  move(bytes: Uint8Array): number {
    const n = this.#number;
    const reads = this.way === "read";
    if (this.#manner === "socket") return reads ? sys(NR.recvfrom, n, bytes, bytes.length, MSG.DONTWAIT | MSG.NOSIGNAL, null, null) : sys(NR.sendto, n, bytes, bytes.length, MSG.DONTWAIT | MSG.NOSIGNAL, null, 0);
    const call = (): number => sys(reads ? NR.read : NR.write, n, bytes, bytes.length);
    if (this.#manner === "as it is") return call();
    const flags = sys(NR.fcntl, n, F.GETFL, 0);
    sys(NR.fcntl, n, F.SETFL, flags | O.NONBLOCK);
    const r = call();
    sys(NR.fcntl, n, F.SETFL, flags);
    return r;
  }

  /** Calls `go` once, when another try may move something. Files that cannot be polled are always ready. */
  whenReady(go: () => void): void {
    if (!this.#pollable) return this.wait(0, go);
    try {
      if (this.#watch === undefined) this.#watch = watch(this.#number, (this.way === "read" ? EPOLL.IN : EPOLL.OUT) | EPOLL.ONESHOT, go);
      else this.#watch.rearm();
    } catch (error) {
      if (!isErrno(error, E.EPERM)) throw error;
      this.#pollable = false;
      this.wait(0, go);
    }
  }

  /** Calls `go` once, after so many milliseconds. */
  wait(ms: number, go: () => void): void {
    this.#later?.cancel();
    this.#later = after(ms, go);
  }

  /** Has the other side been hung up, or closed by everybody? */
  hungUp(): boolean {
    return isHungUp(this.#number);
  }

  /** Lets go of it; nobody is called any more. */
  close(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#later?.cancel();
    this.#fd.close();
  }
}
