// What is handed to the caller over unix sockets that it listens on: the master of a terminal, a pidfd.
import { sys } from "../sys/call.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { O, open } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { AF, connect, sendFds, SOCK, socket, unixAddress } from "../sys/socket.js";
import { attempt } from "../lib/errors.js";

const TIOCGPTN = 0x80045430;

/** One message with one descriptor to the stream socket at `path`, of any length. */
function sendTo(path: string, text: string, fd: Fd): void {
  const cut = path.lastIndexOf("/");
  using dir = open(path.slice(0, cut + 1) || ".", O.PATH | O.DIRECTORY);
  using to = socket(AF.UNIX, SOCK.STREAM);
  sys(NR.fcntl, to.n, 4, 0); // F_SETFL: a listener with a full queue is waited for
  connect(to, unixAddress(`${fdPath(dir)}/${path.slice(cut + 1)}`));
  sendFds(to, native.utf8Encode(text), [fd]);
}

/** The terminal's master; the message is the slave's path in the container. */
export function sendTerminal(path: string, master: Fd): void {
  const number = new Int32Array(1);
  sys(NR.ioctl, master.n, TIOCGPTN, number.buffer as ArrayBuffer);
  attempt(`send the terminal to the console socket ${path}`, () => sendTo(path, `/dev/pts/${number[0]}`, master));
  master.close();
}

/** A pidfd of the process. */
export function sendPidfd(path: string, pidfd: Fd): void {
  attempt(`send the pidfd to the socket ${path}`, () => sendTo(path, "pidfd", pidfd));
}
