// netlink(7) sockets: one to ask the kernel (NETLINK_ROUTE), one to hear of devices (NETLINK_KOBJECT_UEVENT). What does not
// come from the kernel itself is told apart here: any process with rights over the network namespace may send. No message is
// understood here.
import { NETLINK } from "../abi/rtnl.js";
import { AF, MSG, SOCK, SOL } from "../abi/flags.js";
import { check, must, retry, sys } from "./call.js";
import { E } from "../abi/errno.js";
import { type Fd, handOver } from "./fd.js";
import { NR } from "../abi/nr.js";
import { bind, setsockopt, socket } from "./socket.js";
import { struct } from "./struct.js";

const SOCKADDR_NL = struct({ family: "u16", _pad: "u16", pid: "u32", groups: "u32" });

/** A non-blocking netlink socket, bound to the multicast groups in the bit mask `groups`. */
export function netlink(protocol: NETLINK, groups = 0): Fd {
  return handOver(socket(AF.NETLINK, SOCK.RAW, protocol), (fd) => {
    if (protocol === NETLINK.ROUTE) {
      setsockopt(fd, SOL.NETLINK, NETLINK.CAP_ACK, 1); // an error does not repeat the request,
      setsockopt(fd, SOL.NETLINK, NETLINK.EXT_ACK, 1); // but says in words what was wrong
    }
    bind(fd, SOCKADDR_NL.make({ family: AF.NETLINK, groups }));
    return fd;
  });
}

/** sendto(2) to the kernel. */
export function sendToKernel(fd: Fd, message: Uint8Array): void {
  const kernel = SOCKADDR_NL.make({ family: AF.NETLINK });
  must("sendto", NR.sendto, fd.n, message, message.length, 0, kernel, kernel.length);
}

/** What `receiveFromKernel` answers when no datagram waits, and when the next one was not the kernel's and has been dropped. */
export const NOTHING = -1, FOREIGN = 0;

/**
 * recvfrom(2): the length of the next datagram, if it is the kernel's; else NOTHING or FOREIGN. Throws SysError: ENOBUFS when some were
 * lost, EMSGSIZE when one is larger than `bytes`.
 */
export function receiveFromKernel(fd: Fd, bytes: Uint8Array): number {
  const from = new Uint8Array(SOCKADDR_NL.size);
  const length = new Int32Array([from.length]);
  const n = retry(() => sys(NR.recvfrom, fd.n, bytes, bytes.length, MSG.TRUNC, from, length.buffer as ArrayBuffer));
  if (n === -E.EAGAIN) return NOTHING;
  if (n >= 0 && SOCKADDR_NL.read(from).pid !== 0) return FOREIGN;
  return check("recvfrom", n > bytes.length ? -E.EMSGSIZE : n);
}
