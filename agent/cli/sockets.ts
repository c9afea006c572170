// What is handed to the caller over unix sockets that it listens on: the master of a terminal, a pidfd.
import type { Fd } from "../sys/fd.js";
import { sendFds } from "../sys/socket.js";
import { ptyNumber } from "../sys/tty.js";
import { connectUnix } from "../lib/connect.js";
import { attempt } from "../lib/errors.js";

function sendTo(path: string, text: string, fd: Fd): void {
  using to = connectUnix(path);
  sendFds(to, native.utf8Encode(text), [fd]);
}

/** The terminal's master; the message is the slave's path in the container. */
export function sendTerminal(path: string, master: Fd): void {
  attempt(`send the terminal to the console socket ${path}`, () => sendTo(path, `/dev/pts/${ptyNumber(master)}`, master));
  master.close();
}

/** A pidfd of the process. */
export function sendPidfd(path: string, pidfd: Fd): void {
  attempt(`send the pidfd to the socket ${path}`, () => sendTo(path, "pidfd", pidfd));
}
