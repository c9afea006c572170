// Strings to UTF-8 bytes and back, by the host's C code. Bytes of others that are no UTF-8 (names of files, arguments) stand in
// strings as U+DC80 to U+DCFF, one for each byte, and every system call turns them back: what was read is what is named. JSON keeps
// them too, as \udcXX. The same convention as Python's (PEP 383, "surrogateescape"). No system call is made here.

/** The UTF-8 bytes of a string. */
export const utf8Encode = native.utf8Encode;

/** The string in bytes [start, end), default all; undefined when they are not well-formed UTF-8. */
export const utf8Decode = native.utf8Decode;

/** Has there been any such byte in this process? Nearly always not, and then nobody looks for them. */
export let escapes = false;

/** The exact text of bytes [start, end) that may be no UTF-8. */
export function bytesText(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const whole = native.utf8Decode(bytes, start, end);
  if (whole !== undefined) return whole;
  escapes = true;
  let text = "";
  for (let at = start; at < end; ) {
    const lead = bytes[at] as number;
    const next = at + (lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
    const piece = next <= end ? native.utf8Decode(bytes, at, next) : undefined;
    text += piece ?? String.fromCharCode(0xdc00 + lead);
    at = piece === undefined ? at + 1 : next;
  }
  return text;
}

/** JSON text of our own that is about to be read: another process may have had such bytes. Returns it. */
export function fromOthers(json: string): string {
  if (!escapes && json.includes("\\udc")) escapes = true;
  return json;
}

/** The bytes that a text stands for. */
export function textBytes(text: string): Uint8Array {
  if (!escapes) return native.utf8Encode(text);
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0xd800 && unit < 0xdc00) at++; // the first half of a character beyond U+FFFF
    else if (unit >= 0xdc80 && unit < 0xdd00) {
      pieces.push(native.utf8Encode(text.slice(from, at)), Uint8Array.of(unit - 0xdc00));
      from = at + 1;
    }
  }
  pieces.push(native.utf8Encode(text.slice(from)));
  const bytes = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** An argument of a system call with its bytes exact; a NUL inside stays to be refused. */
export function exactArgument(value: SyscallArg): SyscallArg {
  return typeof value === "string" && !value.includes("\0") ? textBytes(`${value}\0`) : value;
}
