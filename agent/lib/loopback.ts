// The loopback interface: of a machine that the agent has booted, and of a container's new network namespace. It asks by
// ioctl, netdevice(7): two small calls, and no netlink code in the memory of an agent whose host never touches the network.
import { IFF } from "../abi/rtnl.js";
import { Ifreq } from "../abi/layouts.js";
import { AF, IOCTL, SOCK } from "../abi/flags.js";
import { isErrno, must } from "../sys/call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "../sys/fd.js";
import { NR } from "../abi/nr.js";
import { socket } from "../sys/socket.js";
import { viewOf } from "../sys/struct.js";

function ask(fd: Fd): void {
  const request = new Uint8Array(Ifreq.SIZE);
  request.set(native.utf8Encode("lo"));
  must("ioctl(SIOCGIFFLAGS)", NR.ioctl, fd.n, IOCTL.SIOCGIFFLAGS, request);
  const view = viewOf(request);
  view.setUint16(Ifreq.ifr_flags, view.getUint16(Ifreq.ifr_flags, true) | IFF.UP, true);
  must("ioctl(SIOCSIFFLAGS)", NR.ioctl, fd.n, IOCTL.SIOCSIFFLAGS, request);
}

/** Brings `lo` up; the kernel gives it its addresses. A kernel without IPv4 has none: nothing to do. Throws SysError. */
export function loopbackUp(): void {
  let fd: Fd;
  try {
    fd = socket(AF.INET, SOCK.DGRAM);
  } catch (error) {
    if (isErrno(error, E.EAFNOSUPPORT)) return;
    throw error;
  }
  try {
    ask(fd);
  } finally {
    fd.close();
  }
}
