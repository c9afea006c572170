// netlink(7) sockets: one to ask the kernel (NETLINK_ROUTE), one to hear of devices (NETLINK_KOBJECT_UEVENT). What does not
// come from the kernel itself is dropped here, so nobody above has to think of it. No message is understood here.
import { check, must, retry, sys } from "./call.js";
import { E } from "./errno.js";
import type { Fd } from "./fd.js";
import { NR } from "./nr.js";
import { AF, bind, SOCK, setsockopt, socket } from "./socket.js";
import { struct } from "./struct.js";

export const enum NETLINK { ROUTE = 0, KOBJECT_UEVENT = 15 }
const SOCKADDR_NL = struct({ family: "u16", _pad: "u16", pid: "u32", groups: "u32" });
const SOL_NETLINK = 270;
const CAP_ACK = 10;
const EXT_ACK = 11;

/** A non-blocking netlink socket, bound to the multicast groups in the bit mask `groups`. */
export function netlink(protocol: NETLINK, groups = 0): Fd {
  const fd = socket(AF.NETLINK, SOCK.RAW, protocol);
  try {
    if (protocol === NETLINK.ROUTE) {
      setsockopt(fd, SOL_NETLINK, CAP_ACK, 1); // an error does not repeat the request,
      setsockopt(fd, SOL_NETLINK, EXT_ACK, 1); // but says in words what was wrong
    }
    bind(fd, SOCKADDR_NL.make({ family: AF.NETLINK, groups }));
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** sendto(2) to the kernel. */
export function sendToKernel(fd: Fd, message: Uint8Array): void {
  const kernel = SOCKADDR_NL.make({ family: AF.NETLINK });
  must("sendto", NR.sendto, fd.n, message, message.length, 0, kernel, kernel.length);
}

/**
 * recvfrom(2): the length of the next datagram of the kernel, or -1 when none waits. Throws SysError: ENOBUFS when some were
 * lost, EMSGSIZE when one is larger than `bytes`.
 */
export function receiveFromKernel(fd: Fd, bytes: Uint8Array): number {
  const from = new Uint8Array(SOCKADDR_NL.size);
  for (;;) {
    const length = new Int32Array([from.length]);
    const MSG_TRUNC = 0x20;
    const n = retry(() => sys(NR.recvfrom, fd.n, bytes, bytes.length, MSG_TRUNC, from, length.buffer as ArrayBuffer));
    if (n === -E.EAGAIN) return -1;
    check("recvfrom", n > bytes.length ? -E.EMSGSIZE : n);
    if (SOCKADDR_NL.read(from).pid === 0) return n;
  }
}
