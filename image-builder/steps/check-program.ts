// Owns the look at a program before it becomes the guest's init: a guest root has no loader and no shell, so anything but a
// static executable of the right machine would end in the kernel's "no working init found". Source: elf(5).
import { BuildError } from "../lib/errors.js";

const PT_INTERP = 3;
const MACHINES: Readonly<Record<number, string>> = { 62: "x86_64", 183: "aarch64" };

/** Throws BuildError "missing" unless `bytes` are a statically linked 64-bit ELF executable for `arch`. */
export function checkProgram(name: string, bytes: Uint8Array, arch = "x86_64"): void {
  const refuse = (why: string): never => {
    throw new BuildError("missing", `${name} cannot be the guest's init: ${why}`, "build the agent first (make agent), or name a static program with --agent FILE");
  };
  if (bytes.length < 64 || bytes[0] !== 0x7f || bytes[1] !== 0x45 || bytes[2] !== 0x4c || bytes[3] !== 0x46) refuse("it is not an ELF program");
  if (bytes[4] !== 2 || bytes[5] !== 1) refuse("it is not a 64-bit little-endian program");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const machine = MACHINES[view.getUint16(18, true)] ?? `machine ${view.getUint16(18, true)}`;
  if (machine !== arch) refuse(`it is for ${machine}, the guest is ${arch}`);
  const type = view.getUint16(16, true);
  if (type !== 2 && type !== 3) refuse("it is not an executable");
  const start = Number(view.getBigUint64(32, true));
  const [size, count] = [view.getUint16(54, true), view.getUint16(56, true)];
  if (start + size * count > bytes.length) refuse("it is cut off");
  for (let i = 0; i < count; i++) {
    if (view.getUint32(start + i * size, true) === PT_INTERP) refuse("it is linked dynamically, and the guest has no loader");
    const [offset, length] = [Number(view.getBigUint64(start + i * size + 8, true)), Number(view.getBigUint64(start + i * size + 32, true))];
    if (offset + length > bytes.length) refuse("it is cut off");
  }
}
