// Sockets: unix(7), vsock(7), netlink(7). Non-blocking and close-on-exec throughout.
import { SockaddrStorage, SockaddrUn } from "../abi/layouts.js";
import { AF, MSG, SCM, SOCK, SOL } from "../abi/flags.js";
import { check, must, sys } from "./call.js";
import { E } from "../abi/errno.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { keepAlive, struct } from "./struct.js";
import { textBytes } from "./utf8.js";

/** socket(2), non-blocking, close-on-exec. */
export function socket(family: number, type: number, protocol = 0): Fd {
  return new Fd(must("socket", NR.socket, family, type | SOCK.NONBLOCK | SOCK.CLOEXEC, protocol));
}

/** socketpair(2) of AF_UNIX, close-on-exec, blocking unless asked otherwise. */
export function socketpair(type: number): [Fd, Fd] {
  const pair = new Int32Array(2);
  must("socketpair", NR.socketpair, AF.UNIX, type | SOCK.CLOEXEC, 0, pair.buffer as ArrayBuffer);
  return [new Fd(pair[0] as number), new Fd(pair[1] as number)];
}

const SUN_PATH_BYTES = SockaddrUn.SIZE - SockaddrUn.sun_path;

/** struct sockaddr_un; a leading "@" names the abstract space. Throws RangeError when the path is longer than 107 bytes. */
export function unixAddress(path: string): Uint8Array {
  const name = textBytes(path);
  if (name.length >= SUN_PATH_BYTES) throw new RangeError(`socket path is ${name.length} bytes long, ${SUN_PATH_BYTES - 1} is the limit: ${path}`);
  const abstract = path.startsWith("@");
  const address = new Uint8Array(SockaddrUn.sun_path + name.length + (abstract ? 0 : 1));
  address[0] = AF.UNIX;
  address.set(name, SockaddrUn.sun_path);
  if (abstract) address[SockaddrUn.sun_path] = 0;
  return address;
}

const SOCKADDR_VM = struct({ family: "u16", reserved: "u16", port: "u32", cid: "u32", flags: "u8", _z0: "u8", _z1: "u16" });

/** struct sockaddr_vm. */
export function vsockAddress(cid: number, port: number): Uint8Array {
  return SOCKADDR_VM.make({ family: AF.VSOCK, cid, port });
}

/** bind(2). */
export function bind(fd: Fd, address: Uint8Array): void {
  must("bind", NR.bind, fd.n, address, address.length);
}
/** listen(2). */
export function listen(fd: Fd, backlog: number): void {
  must("listen", NR.listen, fd.n, backlog);
}
/** connect(2); the caller handles EINPROGRESS and EAGAIN through the thrown SysError. */
export function connect(fd: Fd, address: Uint8Array): void {
  must("connect", NR.connect, fd.n, address, address.length);
}

export interface Accepted { readonly fd: Fd; readonly cid: number | undefined; readonly port: number | undefined }
/** What accept(2) says of one connection that has failed already; the next one may be good. */
const OF_ONE: readonly number[] = [
  E.ECONNABORTED, E.EINTR, E.EPROTO, E.ENOPROTOOPT, E.EHOSTDOWN, E.ENONET, E.EHOSTUNREACH, E.EOPNOTSUPP, E.ENETUNREACH, E.ENETDOWN, E.EPERM, E.ECONNRESET, E.ETIMEDOUT,
];

/** accept4(2): the connection and, on vsock, its peer's CID and port; undefined when none waits (EAGAIN) or the next one has failed. */
export function accept(listener: Fd): Accepted | undefined {
  const address = new Uint8Array(SockaddrStorage.SIZE);
  const length = new Int32Array([address.length]);
  const r = sys(NR.accept4, listener.n, address, length.buffer as ArrayBuffer, SOCK.NONBLOCK | SOCK.CLOEXEC);
  if (r === -E.EAGAIN || OF_ONE.includes(-r)) return undefined;
  const fd = new Fd(check("accept4", r));
  if (address[0] !== AF.VSOCK) return { fd, cid: undefined, port: undefined };
  const peer = SOCKADDR_VM.read(address);
  return { fd, cid: peer.cid, port: peer.port };
}

/** accept4(2) that waits: a blocking, close-on-exec connection. */
export function acceptNext(listener: Fd): Fd {
  return new Fd(must("accept4", NR.accept4, listener.n, null, null, SOCK.CLOEXEC));
}

const MSGHDR = struct({ name: "u64", nameLength: "u64", iov: "u64", iovCount: "u64", control: "u64", controlLength: "u64", flags: "u64" });
const IOVEC = struct({ base: "u64", length: "u64" });
const CMSGHDR = struct({ length: "u64", level: "i32", type: "i32" });

/** sendmsg(2) of `bytes` (at least one) with descriptors for the receiver (SCM_RIGHTS). */
export function sendFds(fd: Fd, bytes: Uint8Array, fds: readonly Fd[]): void {
  const control = new Uint8Array(CMSGHDR.size + ((fds.length * 4 + 7) & ~7));
  control.set(CMSGHDR.make({ length: CMSGHDR.size + fds.length * 4, level: SOL.SOCKET, type: SCM.RIGHTS }));
  control.set(new Uint8Array(new Int32Array(fds.map((f) => f.n)).buffer), CMSGHDR.size);
  const iov = IOVEC.make({ base: native.addressOf(bytes), length: bytes.length });
  const message = MSGHDR.make({ iov: native.addressOf(iov), iovCount: 1, control: native.addressOf(control), controlLength: control.length });
  must("sendmsg", NR.sendmsg, fd.n, message, MSG.NOSIGNAL);
  keepAlive(control, iov);
}

/** recvmsg(2) of one message that carries at most `most` descriptors, now (EAGAIN when there is none): those descriptors, close-on-exec. */
export function receiveFds(fd: Fd, most: number): Fd[] {
  const bytes = new Uint8Array(1);
  const control = new Uint8Array(CMSGHDR.size + ((most * 4 + 7) & ~7));
  const iov = IOVEC.make({ base: native.addressOf(bytes), length: bytes.length });
  const message = MSGHDR.make({ iov: native.addressOf(iov), iovCount: 1, control: native.addressOf(control), controlLength: control.length });
  must("recvmsg", NR.recvmsg, fd.n, message, MSG.CMSG_CLOEXEC | MSG.DONTWAIT);
  keepAlive(bytes, control, iov);
  const got = MSGHDR.read(message).controlLength;
  const numbers = new Int32Array(control.buffer, CMSGHDR.size, Math.max(0, got - CMSGHDR.size) >> 2);
  return got < CMSGHDR.size ? [] : [...numbers.subarray(0, (CMSGHDR.read(control).length - CMSGHDR.size) >> 2)].map((n) => new Fd(n));
}

/** shutdown(2): 0 reading, 1 writing, 2 both; a peer that is gone is no error. */
export function shutdown(fd: Fd, how: 0 | 1 | 2): void {
  sys(NR.shutdown, fd.n, how);
}
/** setsockopt(2) of an int. */
export function setsockopt(fd: Fd, level: number, name: number, value: number): void {
  must("setsockopt", NR.setsockopt, fd.n, level, name, new Int32Array([value]).buffer as ArrayBuffer, 4);
}
