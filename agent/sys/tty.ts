// Pseudo-terminals: ptmx, its peer, window size, controlling terminal. See ioctl_tty(2), pty(7).
import { Termios } from "../abi/layouts.js";
import { IOCTL, O, RESOLVE, TERMIOS } from "../abi/flags.js";
import { must, sys } from "./call.js";
import { Fd, handOver } from "./fd.js";
import { openat2 } from "./file.js";
import { NR } from "../abi/nr.js";
import { viewOf } from "./struct.js";

/** A terminal in the devpts that `pts` (a directory) is: master and slave, neither anybody's controlling terminal yet. */
export function openPtyAt(pts: Fd): { master: Fd; slave: Fd } {
  return handOver(openat2(pts, "ptmx", O.RDWR | O.NOCTTY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV), (master) => {
    must("ioctl(TIOCSPTLCK)", NR.ioctl, master.n, IOCTL.TIOCSPTLCK, new Int32Array([0]).buffer as ArrayBuffer);
    return { master, slave: new Fd(must("ioctl(TIOCGPTPEER)", NR.ioctl, master.n, IOCTL.TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC)) };
  });
}

/** Sets the window's size: rows and columns, at most 65535 each. */
export function setWindowSize(fd: Fd, rows: number, columns: number): void {
  must("ioctl(TIOCSWINSZ)", NR.ioctl, fd.n, IOCTL.TIOCSWINSZ, new Uint16Array([Math.min(rows, 65535), Math.min(columns, 65535), 0, 0]).buffer as ArrayBuffer);
}

/** Gives the terminal on `to` the size of that on `from`; false when that is none. */
export function copyWindowSize(from: number, to: Fd): boolean {
  const size = new Uint16Array(4).buffer as ArrayBuffer;
  if (sys(NR.ioctl, from, IOCTL.TIOCGWINSZ, size) !== 0) return false;
  sys(NR.ioctl, to.n, IOCTL.TIOCSWINSZ, size);
  return true;
}

/** Is descriptor `n` a terminal? */
export function isTerminal(n: number): boolean {
  return sys(NR.ioctl, n, IOCTL.TCGETS, new Uint8Array(Termios.SIZE)) === 0;
}

/** Is it a pseudo-terminal's master? */
export function isMaster(n: number): boolean {
  return sys(NR.ioctl, n, IOCTL.TIOCGPTN, new Int32Array(1).buffer as ArrayBuffer) === 0;
}

/** May this process change the terminal on `n` without taking it from others? Not when another job of its session has it. */
export function inForeground(n: number): boolean {
  const group = new Int32Array(1);
  return sys(NR.ioctl, n, IOCTL.TIOCGPGRP, group.buffer as ArrayBuffer) !== 0 || group[0] === sys(NR.getpgid, 0);
}

/** The number N of /dev/pts/N that is this master's other end. */
export function ptyNumber(master: Fd): number {
  const number = new Int32Array(1);
  must("ioctl(TIOCGPTN)", NR.ioctl, master.n, IOCTL.TIOCGPTN, number.buffer as ArrayBuffer);
  return number[0] as number;
}

/** Makes the terminal on descriptor `n` this session's controlling terminal. */
export function setControllingTerminal(n: number): void {
  must("ioctl(TIOCSCTTY)", NR.ioctl, n, IOCTL.TIOCSCTTY, 0);
}

/** The character that ends a line's input on this terminal (VEOF; 0 when it is switched off). */
export function eofCharacter(fd: Fd): number {
  const termios = new Uint8Array(Termios.SIZE);
  must("ioctl(TCGETS)", NR.ioctl, fd.n, IOCTL.TCGETS, termios);
  return termios[Termios.c_cc + TERMIOS.VEOF] as number;
}

/** Clears and sets bits in one of the four flag words of a struct termios. */
function change(termios: Uint8Array, at: number, clear: number, set = 0): void {
  const view = viewOf(termios);
  view.setUint32(at, (view.getUint32(at, true) & ~clear) | set, true);
}

/** Raw mode, as cfmakeraw(3), for the terminal on descriptor `n`; returns what sets it back, undefined where there is none or it is another job's. */
export function makeRaw(n: number): (() => void) | undefined {
  if (!inForeground(n)) return undefined;
  const old = new Uint8Array(Termios.SIZE);
  if (sys(NR.ioctl, n, IOCTL.TCGETS, old) < 0) return undefined;
  const now = old.slice();
  change(now, Termios.c_iflag, TERMIOS.IGNBRK | TERMIOS.BRKINT | TERMIOS.PARMRK | TERMIOS.ISTRIP | TERMIOS.INLCR | TERMIOS.IGNCR | TERMIOS.ICRNL | TERMIOS.IXON);
  change(now, Termios.c_oflag, TERMIOS.OPOST);
  change(now, Termios.c_cflag, TERMIOS.CSIZE | TERMIOS.PARENB, TERMIOS.CS8);
  change(now, Termios.c_lflag, TERMIOS.ECHO | TERMIOS.ECHONL | TERMIOS.ICANON | TERMIOS.ISIG | TERMIOS.IEXTEN);
  sys(NR.ioctl, n, IOCTL.TCSETS, now);
  return () => void sys(NR.ioctl, n, IOCTL.TCSETS, old);
}

/** Switches ONLCR off: lines of the terminal end in LF alone. */
export function bareLines(terminal: Fd): void {
  const termios = new Uint8Array(Termios.SIZE);
  if (sys(NR.ioctl, terminal.n, IOCTL.TCGETS, termios) < 0) return;
  change(termios, Termios.c_oflag, TERMIOS.ONLCR);
  sys(NR.ioctl, terminal.n, IOCTL.TCSETS, termios);
}
