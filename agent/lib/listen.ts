// Where a server can be reached: "vsock://CID:PORT" (CID -1: any), "unix://PATH", "unix://@NAME" (abstract), "serial://DEVICE" (ours: a
// virtio-serial port). On vsock only the expected peer is let in: a container could open a vsock socket too. See vsock(7), unix(7).
import { AF, AT, EPOLL, O, SOCK, VMADDR } from "../abi/flags.js";
import { E } from "../abi/errno.js";
import { isErrno, sys } from "../sys/call.js";
import { type Fd, handOver } from "../sys/fd.js";
import { open } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { accept, bind, listen as listenOn, socket, unixAddress, vsockAddress } from "../sys/socket.js";
import { FdChannel, VSOCK_PIECE } from "./channel.js";
import { AppError, attempt, because, messageOf } from "./errors.js";
import { Level } from "./log.js";
import { type Timer, after, now, watch } from "./loop.js";
import { Tally } from "./tally.js";

export interface Listening {
  /** The listening socket; none of a serial port. */
  readonly fd: Fd | undefined;
  /** Takes no more connections; those that were taken live on. */
  close(): void;
}

type Take = (channel: FdChannel) => void;
type Late = (error: unknown) => void;

const BACKLOG = 128;
const PORT_WAIT_MS = 5_000;
const PORT_TRY_MS = 5;
const BREATH_MS = 100; // before the next try when there are no descriptors left
const AT_ONCE = 16; // connections before others get their turn: those that wait make the listener ready again

const troubles = new Tally(Level.WARN, "rpc");
const refused = new Tally(Level.WARN, "rpc");

/**
 * Listens at `address` and hands each new channel to `take`, which owns it from then on, unless it throws: then the channel is closed.
 * `peer` is the only CID let in on vsock. `late` is told when a serial port does not appear in time, after which nothing is served.
 * Throws AppError: invalid for an address it does not know, internal when the system refuses.
 */
export function listen(address: string, peer: number, take: (channel: FdChannel) => void, late: (error: unknown) => void = (error) => {
  throw error;
}): Listening {
  return attempt(`listen on ${address}`, () => {
    if (address.startsWith("serial://")) return servePort(address.slice(9), now() + PORT_WAIT_MS, take, late);
    return acceptAt(address, boundSocket(address), peer, take);
  });
}

/** Goes on with what an earlier process has begun at `address`: `fd` is its listening socket, or the open serial port if there was one. */
export function listenAgain(address: string, fd: Fd | undefined, peer: number, take: Take, late: Late): Listening {
  if (address.startsWith("serial://")) return servePort(address.slice(9), now() + PORT_WAIT_MS, take, late, fd);
  return acceptAt(address, fd ?? boundSocket(address), peer, take);
}

function acceptAt(address: string, fd: Fd, peer: number, take: Take): Listening {
  const accepting = acceptFrom(fd, peer, take);
  const path = address.startsWith("unix://") && !address.startsWith("unix://@") ? address.slice(7) : undefined;
  return {
    fd,
    close: () => {
      accepting();
      if (path !== undefined) sys(NR.unlinkat, AT.FDCWD, path, 0); // it was ours: bind(2) had made it
    },
  };
}

// The device of a virtio-serial port appears some moments after its driver has, when the host has told its name: the first
// program of a fast boot is there before it. A port is the only way to the agent: when its connection ends, it is opened again.
function servePort(path: string, until: number, take: Take, late: Late, opened?: Fd): Listening {
  let waiting: Timer | undefined;
  let served = false;
  let closed = false;
  const reopen = (ms: number): void => {
    if (closed || waiting !== undefined) return;
    waiting = after(ms, () => {
      waiting = undefined;
      if (served) again();
      else begin((error) => late(because(`open the serial port ${path}`, error)));
    });
  };
  const serve = (): void => {
    const fd = opened ?? open(path, O.RDWR | O.NONBLOCK | O.NOCTTY);
    opened = undefined;
    const channel = new FdChannel(fd, true, undefined, () => reopen(BREATH_MS));
    served = true;
    give(channel, take);
  };
  const again = (): void => {
    try {
      serve();
    } catch (error) {
      troubles.tell(() => `cannot open the serial port ${path} again: ${messageOf(error)}`);
      reopen(BREATH_MS);
    }
  };
  const begin = (failed: (error: unknown) => void): void => {
    try {
      serve();
    } catch (error) {
      if (!isErrno(error, E.ENOENT) || now() >= until) return failed(error);
      reopen(PORT_TRY_MS);
    }
  };
  begin((error) => {
    throw error;
  });
  return {
    fd: undefined,
    close: () => {
      closed = true;
      waiting?.cancel();
    },
  };
}

/** Hands a channel over; nobody waits at one that could not be taken. */
function give(channel: FdChannel, take: (channel: FdChannel) => void): void {
  try {
    take(channel);
  } catch (error) {
    channel.close();
    throw error;
  }
}

function boundSocket(address: string): Fd {
  const [family, name] = address.startsWith("unix://") ? [AF.UNIX, unixAddress(address.slice(7))] : [AF.VSOCK, vsockName(address)];
  return handOver(socket(family, SOCK.STREAM), (fd) => {
    bind(fd, name);
    listenOn(fd, BACKLOG);
    return fd;
  });
}

function vsockName(address: string): Uint8Array {
  const [cid = "", port = "", more] = address.startsWith("vsock://") ? address.slice(8).split(":") : [];
  const number = Number(port);
  const any = cid === "-1";
  if (more !== undefined || cid === "" || port === "" || !isCount(number) || !(any || isCount(Number(cid))))
    throw new AppError("invalid", "want vsock://CID:PORT, unix://PATH or serial://DEVICE");
  return vsockAddress(any ? VMADDR.CID_ANY : Number(cid), number);
}

const isCount = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= 0xffffffff;

// Whatever accept4(2) answers, the listener lives on: it takes a breath where trying again at once would only turn round and round.
function acceptFrom(fd: Fd, peer: number, take: Take): () => void {
  const breathe = (error: unknown): void => {
    if (!fd.open) return;
    waiting.modify(0);
    after(BREATH_MS, () => {
      if (fd.open) waiting.modify(EPOLL.IN);
    });
    troubles.tell(() => `cannot take a connection: ${messageOf(error)}`);
  };
  const waiting = watch(fd.n, EPOLL.IN, () => {
    try {
      acceptSome(fd, peer, take);
    } catch (error) {
      breathe(error);
    }
  }, breathe);
  return () => {
    waiting.close();
    fd.close();
  };
}

function acceptSome(fd: Fd, peer: number, take: (channel: FdChannel) => void): void {
  for (let i = 0; i < AT_ONCE && fd.open; i++) {
    const next = accept(fd);
    if (next === undefined) return;
    const { cid } = next;
    if (cid === undefined) give(new FdChannel(next.fd, false), take);
    else if (cid === peer) give(new FdChannel(next.fd, false, VSOCK_PIECE), take);
    else {
      next.fd.close();
      refused.tell(() => `connection from CID ${cid} refused: only CID ${peer} may talk to the agent`);
    }
  }
}
