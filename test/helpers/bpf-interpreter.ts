// The few BPF instructions that device programs use, interpreted: what would the kernel decide?

export interface DeviceAccess { readonly type: "b" | "c"; readonly major: number; readonly minor: number; readonly access: string }

/** Runs a program on one access; true when it is allowed. Throws on anything it does not know, and when the program runs off its end. */
export function allows(program: Uint8Array, asked: DeviceAccess): boolean {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const bits = (asked.access.includes("m") ? 1 : 0) | (asked.access.includes("r") ? 2 : 0) | (asked.access.includes("w") ? 4 : 0);
  const context = [((bits << 16) | (asked.type === "b" ? 1 : 2)) >>> 0, asked.major, asked.minor];
  const r = new Array<number>(11).fill(NaN);
  for (let pc = 0, steps = 0; steps < 10_000; steps++) {
    if (pc * 8 >= program.length) throw new Error(`ran off the end at instruction ${pc}`);
    const code = program[pc * 8] as number;
    const dst = (program[pc * 8 + 1] as number) & 15;
    const src = (program[pc * 8 + 1] as number) >> 4;
    const off = view.getInt16(pc * 8 + 2, true);
    const imm = view.getInt32(pc * 8 + 4, true);
    pc++;
    switch (code) {
      case 0x61: r[dst] = context[off / 4] as number; break;
      case 0xb7: r[dst] = imm; break;
      case 0xbf: r[dst] = r[src] as number; break;
      case 0x57: r[dst] = ((r[dst] as number) & imm) >>> 0; break;
      case 0x77: r[dst] = (r[dst] as number) >>> imm; break;
      case 0x55: if (r[dst] !== imm) pc += off; break;
      case 0x15: if (r[dst] === imm) pc += off; break;
      case 0x5d: if (r[dst] !== r[src]) pc += off; break;
      case 0x95: return r[0] === 1;
      default: throw new Error(`unknown instruction 0x${code.toString(16)}`);
    }
  }
  throw new Error("the program does not end");
}
