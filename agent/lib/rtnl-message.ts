// The bytes of rtnetlink messages: header, fixed part, attributes (netlink(7), rtnetlink(7), include/uapi/linux/{netlink,
// rtnetlink,if_link,if_addr,neighbour}.h). Pure: bytes in, bytes out; no socket, no names.
import { IF, NLA, NLM, NLMSGERR, type RTM } from "../abi/rtnl.js";
import { struct, viewOf } from "../sys/struct.js";
import { AppError } from "./errors.js";

export const IFINFOMSG = struct({ family: "u8", _pad: "u8", type: "u16", index: "i32", flags: "u32", change: "u32" });
export const IFADDRMSG = struct({ family: "u8", prefixlen: "u8", flags: "u8", scope: "u8", index: "u32" });
export const RTMSG = struct({ family: "u8", dstLen: "u8", srcLen: "u8", tos: "u8", table: "u8", protocol: "u8", scope: "u8", type: "u8", flags: "u32" });
export const NDMSG = struct({ family: "u8", _p1: "u8", _p2: "u16", ifindex: "i32", state: "u16", flags: "u8", type: "u8" });

const HEADER = struct({ len: "u32", type: "u16", flags: "u16", seq: "u32", pid: "u32" });
const aligned = (n: number): number => (n + 3) & ~3;

export type Attribute = readonly [type: number, value: Uint8Array];

/** A 32-bit number as the value of an attribute. Throws AppError "invalid" for one that is none. */
export function u32(value: number): Uint8Array {
  if (!(Number.isInteger(value) && value >= 0 && value <= 0xffffffff)) throw new AppError("invalid", `${value} is not between 0 and 4294967295`);
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

/** A text as the value of an attribute, NUL at its end. Throws AppError "invalid" for one that has a NUL before. */
export function text(value: string): Uint8Array {
  if (value.includes("\0")) throw new AppError("invalid", `${JSON.stringify(value.slice(0, 80))} has a NUL byte`);
  return native.utf8Encode(`${value}\0`);
}

const BLANK = " \t\n\v\f\r/:";

/** A link's name as the value of an attribute. Throws AppError "invalid" for one that the kernel would not take (dev_valid_name). */
export function linkName(name: string): Uint8Array {
  const bytes = name.length < IF.NAMSIZ ? text(name) : NO_BYTES;
  let good = bytes.length > 1 && bytes.length <= IF.NAMSIZ && name !== "." && name !== "..";
  for (const byte of bytes) if (byte === 0xa0 || BLANK.includes(String.fromCharCode(byte))) good = false; // 0xa0: a space to the kernel
  if (!good) throw new AppError("invalid", `${JSON.stringify(name.slice(0, 80))} is not a name of a network interface: 1 to ${IF.NAMSIZ - 1} bytes, no white space, "/" or ":"`);
  return bytes;
}
const NO_BYTES = new Uint8Array(0);

const MOST_VALUE = 65531; // the length has 16 bits and counts the header

function put(bytes: Uint8Array, at: number, attributes: readonly Attribute[]): void {
  const view = viewOf(bytes);
  for (const [type, value] of attributes) {
    // the length has 16 bits: what is cut off it would be read as further attributes
    if (value.length > MOST_VALUE || type > 0xffff) throw new AppError("invalid", `netlink attribute ${type}: ${value.length} bytes are more than the ${MOST_VALUE} that it can have`);
    view.setUint16(at, NLA.HDRLEN + value.length, true);
    view.setUint16(at + 2, type, true);
    bytes.set(value, at + NLA.HDRLEN);
    at += aligned(NLA.HDRLEN + value.length);
  }
}

const sizeOf = (attributes: readonly Attribute[]): number => attributes.reduce((n, [, value]) => n + aligned(NLA.HDRLEN + value.length), 0);

/** Attributes as the value of an attribute. */
export function nest(attributes: readonly Attribute[]): Uint8Array {
  const bytes = new Uint8Array(sizeOf(attributes));
  put(bytes, 0, attributes);
  return bytes;
}

/** One request: header, fixed part, attributes. */
export function request(type: RTM, flags: number, seq: number, body: Uint8Array, attributes: readonly Attribute[]): Uint8Array {
  const start = HEADER.size + aligned(body.length);
  const bytes = new Uint8Array(start + sizeOf(attributes));
  HEADER.write(bytes, { len: bytes.length, type, flags, seq });
  bytes.set(body, HEADER.size);
  put(bytes, start, attributes);
  return bytes;
}

export interface Message { readonly type: number; readonly flags: number; readonly seq: number; readonly body: Uint8Array }

/** The messages of one datagram; a header that lies about its length ends the list. */
export function messages(bytes: Uint8Array): Message[] {
  const found: Message[] = [];
  for (let at = 0; at + HEADER.size <= bytes.length; ) {
    const { len, type, flags, seq } = HEADER.read(bytes, at);
    if (len < HEADER.size || at + len > bytes.length) break;
    found.push({ type, flags, seq, body: bytes.subarray(at + HEADER.size, at + len) });
    at += aligned(len);
  }
  return found;
}

/** The attributes in bytes from `at` on, by type (without its flag bits); of several of one type the last. */
export function attributes(bytes: Uint8Array, at: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = viewOf(bytes);
  while (at + NLA.HDRLEN <= bytes.length) {
    const length = view.getUint16(at, true);
    if (length < NLA.HDRLEN || at + length > bytes.length) break;
    found.set(view.getUint16(at + 2, true) & NLA.TYPE_MASK, bytes.subarray(at + NLA.HDRLEN, at + length));
    at += aligned(length);
  }
  return found;
}

/** The text in an attribute's value; "" when there is none or it is not UTF-8. */
export function textOf(value: Uint8Array | undefined): string {
  if (value === undefined) return "";
  const end = value.indexOf(0);
  return native.utf8Decode(value, 0, end < 0 ? value.length : end) ?? "";
}

/** The 32-bit number in an attribute's value; 0 when there is none. */
export function u32Of(value: Uint8Array | undefined): number {
  return value === undefined || value.length < 4 ? 0 : viewOf(value).getUint32(0, true);
}

/** What a NLMSG_ERROR says: a positive errno (0: done) and, where the kernel gives one, its reason in words. */
export function errorOf(message: Message): { errno: number; reason: string } {
  const errno = 0 - viewOf(message.body).getInt32(0, true);
  if ((message.flags & NLM.F_ACK_TLVS) === 0) return { errno, reason: "" };
  return { errno, reason: textOf(attributes(message.body, 4 + HEADER.size).get(NLMSGERR.ATTR_MSG)) };
}
