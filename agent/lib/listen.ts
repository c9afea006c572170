// Where a server can be reached: "vsock://CID:PORT" (CID -1: any), "unix://PATH", "unix://@NAME" (abstract), "serial://DEVICE" (ours: a
// virtio-serial port). On vsock only the expected peer is let in: a container could open a vsock socket too. See vsock(7), unix(7).
import { E } from "../sys/errno.js";
import { isErrno, sys } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { AT_FDCWD, O, open } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL } from "../sys/poll.js";
import { AF, SOCK, VMADDR_CID_ANY, accept, bind, listen as listenOn, socket, unixAddress, vsockAddress } from "../sys/socket.js";
import { FdChannel, VSOCK_PIECE } from "./channel.js";
import { AppError, attempt } from "./errors.js";
import { Level, log } from "./log.js";
import { type Timer, after, now, watch } from "./loop.js";

export interface Listening {
  /** Takes no more connections; those that were taken live on. */
  close(): void;
}

const BACKLOG = 128;
const PORT_WAIT_MS = 5_000;
const PORT_TRY_MS = 5;
const BREATH_MS = 100; // before the next try when there are no descriptors left

/**
 * Listens at `address` and hands each new channel to `take`, which owns it from then on. `peer` is the only CID let in on vsock.
 * Throws AppError: invalid for an address it does not know, internal when the system refuses.
 */
export function listen(address: string, peer: number, take: (channel: FdChannel) => void): Listening {
  return attempt(`listen on ${address}`, () => {
    if (address.startsWith("serial://")) return servePort(address.slice(9), now() + PORT_WAIT_MS, take);
    const accepting = acceptFrom(boundSocket(address), peer, take);
    const path = address.startsWith("unix://") && !address.startsWith("unix://@") ? address.slice(7) : undefined;
    return {
      close: () => {
        accepting.close();
        if (path !== undefined) sys(NR.unlinkat, AT_FDCWD, path, 0); // it was ours: bind(2) had made it
      },
    };
  });
}

// The device of a virtio-serial port appears some moments after its driver has, when the host has told its name: the first
// program of a fast boot is there before it.
function servePort(path: string, until: number, take: (channel: FdChannel) => void): Listening {
  let waiting: Timer | undefined;
  const next = (): void => {
    try {
      take(new FdChannel(open(path, O.RDWR | O.NONBLOCK | O.NOCTTY), true));
    } catch (error) {
      if (!isErrno(error, E.ENOENT) || now() >= until) throw error;
      waiting = after(PORT_TRY_MS, () => attempt(`open the serial port ${path}`, next));
    }
  };
  next();
  return { close: () => waiting?.cancel() };
}

function boundSocket(address: string): Fd {
  const [family, name] = address.startsWith("unix://") ? [AF.UNIX, unixAddress(address.slice(7))] : [AF.VSOCK, vsockName(address)];
  const fd = socket(family, SOCK.STREAM);
  try {
    bind(fd, name);
    listenOn(fd, BACKLOG);
  } catch (error) {
    fd.close();
    throw error;
  }
  return fd;
}

function vsockName(address: string): Uint8Array {
  const [cid = "", port = "", more] = address.startsWith("vsock://") ? address.slice(8).split(":") : [];
  const number = Number(port);
  const any = cid === "-1";
  if (more !== undefined || cid === "" || port === "" || !isCount(number) || !(any || isCount(Number(cid))))
    throw new AppError("invalid", "want vsock://CID:PORT, unix://PATH or serial://DEVICE");
  return vsockAddress(any ? VMADDR_CID_ANY : Number(cid), number);
}

const isCount = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= 0xffffffff;

function acceptFrom(fd: Fd, peer: number, take: (channel: FdChannel) => void): Listening {
  const waiting = watch(fd.n, EPOLL.IN, () => {
    try {
      acceptAll(fd, peer, take);
    } catch (error) {
      if (!isErrno(error, E.EMFILE, E.ENFILE, E.ENOBUFS, E.ENOMEM)) throw error;
      log(Level.WARN, `cannot take a connection: ${error.message}`, undefined, "rpc");
      waiting.modify(0);
      after(BREATH_MS, () => {
        if (fd.open) waiting.modify(EPOLL.IN);
      });
    }
  });
  return {
    close: () => {
      waiting.close();
      fd.close();
    },
  };
}

function acceptAll(fd: Fd, peer: number, take: (channel: FdChannel) => void): void {
  for (let next = accept(fd); next !== undefined; next = fd.open ? accept(fd) : undefined) {
    if (next.cid === undefined || next.cid === peer) take(next.cid === undefined ? new FdChannel(next.fd, false) : new FdChannel(next.fd, false, VSOCK_PIECE));
    else {
      log(Level.WARN, `connection from CID ${next.cid} refused: only CID ${peer} may talk to the agent`, undefined, "rpc");
      next.fd.close();
    }
  }
}
