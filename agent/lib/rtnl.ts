// Questions to rtnetlink(7). The kernel does the whole of a request inside sendto(2) and has its answer queued when that
// returns, and each recvfrom(2) of a dump makes the next part: nothing here waits, so it is plain synchronous code, and a
// sequence of requests is never interleaved with another call's. A socket lives for one request: no stale answers.
import { NETLINK, NLM, NLMSG, type RTM } from "../abi/rtnl.js";
import { SysError } from "../sys/call.js";
import { FOREIGN, netlink, receiveFromKernel, sendToKernel } from "../sys/netlink.js";
import { AppError } from "./errors.js";
import { type Attribute, errorOf, type Message, messages, request } from "./rtnl-message.js";

const LARGEST = 65536;
const SEQ = 1;
/** Messages of one answer: what somebody with rights over the network makes there may not keep everybody waiting. */
const MOST = 8192;
/** Datagrams of others that may lie before the kernel's answer, which a full receive buffer bounds too. */
const MOST_FOREIGN = 8192;

function refusal(what: string, message: Message): SysError | undefined {
  const { errno, reason } = errorOf(message);
  if (errno === 0) return undefined;
  const error = new SysError(what, errno);
  if (reason !== "") error.message += ` (${reason})`;
  return error;
}

/**
 * Sends one request and returns the messages of its answer. `what` names the request in errors. Throws SysError with the
 * kernel's errno and words.
 */
export function ask(what: string, type: RTM, flags: number, body: Uint8Array, attributes: readonly Attribute[] = []): Message[] {
  using socket = netlink(NETLINK.ROUTE);
  const dump = (flags & NLM.F_DUMP) === NLM.F_DUMP;
  sendToKernel(socket, request(type, flags | NLM.F_REQUEST | (dump ? 0 : NLM.F_ACK), SEQ, body, attributes));
  const answer: Message[] = [];
  for (let foreign = 0; answer.length <= MOST && foreign < MOST_FOREIGN; ) {
    const buffer = new Uint8Array(LARGEST);
    const n = receiveFromKernel(socket, buffer);
    if (n === FOREIGN) {
      foreign++;
      continue;
    }
    if (n < 0) throw new AppError("internal", `${what}: the kernel gave no answer`);
    for (const message of messages(buffer.subarray(0, n))) {
      if (message.type === NLMSG.ERROR) {
        const error = refusal(what, message);
        if (error !== undefined) throw error;
        return answer;
      }
      if (message.type === NLMSG.DONE) return answer;
      answer.push(message);
    }
  }
  throw new AppError("exhausted", `${what}: the answer has more than ${MOST} messages`);
}

/** All objects of a kind; asked again while the kernel says that they changed meanwhile. */
export function dump(what: string, type: RTM, body: Uint8Array, attributes: readonly Attribute[] = []): Message[] {
  for (let tries = 0; ; tries++) {
    const all = ask(what, type, NLM.F_DUMP, body, attributes);
    if (tries === 8 || !all.some((m) => (m.flags & NLM.F_DUMP_INTR) !== 0)) return all;
  }
}
