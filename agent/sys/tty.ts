// Pseudo-terminals: ptmx, its peer, window size, controlling terminal. See ioctl_tty(2), pty(7).
import { must } from "./call.js";
import { Fd } from "./fd.js";
import { O, openat2, RESOLVE } from "./file.js";
import { NR } from "./nr.js";

const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;
const TIOCSWINSZ = 0x5414;
const TIOCSCTTY = 0x540e;
const TCGETS = 0x5401;
const VEOF_AT = 17 + 4; // struct termios: four flag words, c_line, then c_cc[VEOF = 4]

/** A terminal in the devpts that `pts` (a directory) is: master and slave, neither anybody's controlling terminal yet. */
export function openPtyAt(pts: Fd): { master: Fd; slave: Fd } {
  const master = openat2(pts, "ptmx", O.RDWR | O.NOCTTY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_XDEV);
  try {
    must("ioctl(TIOCSPTLCK)", NR.ioctl, master.n, TIOCSPTLCK, new Int32Array([0]).buffer as ArrayBuffer);
    return { master, slave: new Fd(must("ioctl(TIOCGPTPEER)", NR.ioctl, master.n, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC)) };
  } catch (error) {
    master.close();
    throw error;
  }
}

/** Sets the window's size (rows and columns, cut to 16 bits). */
export function setWindowSize(fd: Fd, rows: number, columns: number): void {
  must("ioctl(TIOCSWINSZ)", NR.ioctl, fd.n, TIOCSWINSZ, new Uint16Array([rows, columns, 0, 0]).buffer as ArrayBuffer);
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
