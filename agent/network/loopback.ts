// The loopback interface of a machine that the agent has booted. It asks by ioctl, netdevice(7): two small calls, and no
// netlink code in the memory of an agent whose host never touches the network.
import { must } from "../sys/call.js";
import { NR } from "../sys/nr.js";
import { AF, SOCK, socket } from "../sys/socket.js";
import { viewOf } from "../sys/struct.js";
import { attempt } from "../lib/errors.js";

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFREQ_BYTES = 40;
const FLAGS_AT = 16;
const IFF_UP = 1;

/** Brings `lo` up; the kernel gives it its addresses. */
export function loopbackUp(): void {
  attempt("bring lo up", () => {
    using fd = socket(AF.INET, SOCK.DGRAM);
    const request = new Uint8Array(IFREQ_BYTES);
    request.set(native.utf8Encode("lo"));
    must("ioctl(SIOCGIFFLAGS)", NR.ioctl, fd.n, SIOCGIFFLAGS, request);
    const view = viewOf(request);
    view.setUint16(FLAGS_AT, view.getUint16(FLAGS_AT, true) | IFF_UP, true);
    must("ioctl(SIOCSIFFLAGS)", NR.ioctl, fd.n, SIOCSIFFLAGS, request);
  });
}
