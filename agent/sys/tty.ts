// Pseudo-terminals: ptmx, its peer, window size, controlling terminal. See ioctl_tty(2), pty(7).
import { must, sys } from "./call.js";
import { Fd, handOver } from "./fd.js";
import { O, openat2, RESOLVE } from "./file.js";
import { NR } from "../abi/nr.js";

const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;
const TIOCGPTN = 0x80045430;
const TIOCGWINSZ = 0x5413;
const TIOCSWINSZ = 0x5414;
const TIOCSCTTY = 0x540e;
const TIOCGPGRP = 0x540f;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
const VEOF_AT = 17 + 4; // struct termios: four flag words, c_line, then c_cc[VEOF = 4]

/** A terminal in the devpts that `pts` (a directory) is: master and slave, neither anybody's controlling terminal yet. */
export function openPtyAt(pts: Fd): { master: Fd; slave: Fd } {
  return handOver(openat2(pts, "ptmx", O.RDWR | O.NOCTTY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV), (master) => {
    must("ioctl(TIOCSPTLCK)", NR.ioctl, master.n, TIOCSPTLCK, new Int32Array([0]).buffer as ArrayBuffer);
    return { master, slave: new Fd(must("ioctl(TIOCGPTPEER)", NR.ioctl, master.n, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC)) };
  });
}

/** Sets the window's size: rows and columns, at most 65535 each. */
export function setWindowSize(fd: Fd, rows: number, columns: number): void {
  must("ioctl(TIOCSWINSZ)", NR.ioctl, fd.n, TIOCSWINSZ, new Uint16Array([Math.min(rows, 65535), Math.min(columns, 65535), 0, 0]).buffer as ArrayBuffer);
}

/** Gives the terminal on `to` the size of that on `from`; false when that is none. */
export function copyWindowSize(from: number, to: Fd): boolean {
  const size = new Uint16Array(4).buffer as ArrayBuffer;
  if (sys(NR.ioctl, from, TIOCGWINSZ, size) !== 0) return false;
  sys(NR.ioctl, to.n, TIOCSWINSZ, size);
  return true;
}

/** Is descriptor `n` a terminal? */
export function isTerminal(n: number): boolean {
  return sys(NR.ioctl, n, TCGETS, new Uint8Array(64)) === 0;
}

/** Is it a pseudo-terminal's master? */
export function isMaster(n: number): boolean {
  return sys(NR.ioctl, n, TIOCGPTN, new Int32Array(1).buffer as ArrayBuffer) === 0;
}

/** May this process change the terminal on `n` without taking it from others? Not when another job of its session has it. */
export function inForeground(n: number): boolean {
  const group = new Int32Array(1);
  return sys(NR.ioctl, n, TIOCGPGRP, group.buffer as ArrayBuffer) !== 0 || group[0] === sys(NR.getpgid, 0);
}

/** The number N of /dev/pts/N that is this master's other end. */
export function ptyNumber(master: Fd): number {
  const number = new Int32Array(1);
  must("ioctl(TIOCGPTN)", NR.ioctl, master.n, TIOCGPTN, number.buffer as ArrayBuffer);
  return number[0] as number;
}

/** Makes the terminal on descriptor `n` this session's controlling terminal. */
export function setControllingTerminal(n: number): void {
  must("ioctl(TIOCSCTTY)", NR.ioctl, n, TIOCSCTTY, 0);
}

/** The character that ends a line's input on this terminal (VEOF; 0 when it is switched off). */
export function eofCharacter(fd: Fd): number {
  const termios = new Uint8Array(64);
  must("ioctl(TCGETS)", NR.ioctl, fd.n, TCGETS, termios);
  return termios[VEOF_AT] as number;
}

/** Raw mode, as cfmakeraw(3), for the terminal on descriptor `n`; returns what sets it back, undefined where there is none or it is another job's. */
export function makeRaw(n: number): (() => void) | undefined {
  if (!inForeground(n)) return undefined;
  const old = new Uint8Array(64); // struct termios of the kernel: iflag, oflag, cflag, lflag (u32 each), line, cc
  if (sys(NR.ioctl, n, TCGETS, old) < 0) return undefined;
  const now = old.slice();
  const flags = new Uint32Array(now.buffer, 0, 4);
  flags[0] = (flags[0] as number) & ~0o2753; // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
  flags[1] = (flags[1] as number) & ~1; // OPOST
  flags[2] = ((flags[2] as number) & ~0o460) | 0o60; // CSIZE PARENB, CS8
  flags[3] = (flags[3] as number) & ~0o100113; // ECHO ECHONL ICANON ISIG IEXTEN
  sys(NR.ioctl, n, TCSETS, now);
  return () => void sys(NR.ioctl, n, TCSETS, old);
}

/** Switches ONLCR off: lines of the terminal end in LF alone. */
export function bareLines(terminal: Fd): void {
  const termios = new Uint8Array(64);
  if (sys(NR.ioctl, terminal.n, TCGETS, termios) < 0) return;
  const flags = new Uint32Array(termios.buffer, 0, 4);
  flags[1] = (flags[1] as number) & ~4;
  sys(NR.ioctl, terminal.n, TCSETS, termios);
}
