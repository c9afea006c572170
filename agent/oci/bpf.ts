// What a seccomp filter would say to a call: its classic BPF program, interpreted. Pure. Used to find out whether the engine's own last
// calls pass a filter that would have to be loaded before them. (seccomp(2); include/uapi/linux/{bpf_common,filter,seccomp}.h)

const AUDIT_ARCH = { x86_64: 0xc000003e, aarch64: 0xc00000b7 };
const enum Op {
  RET_K = 0x06, RET_A = 0x16, LD_W_ABS = 0x20, LD_IMM = 0x00, LD_MEM = 0x60, ST = 0x02, JA = 0x05, JEQ_K = 0x15, JGT_K = 0x25, JGE_K = 0x35, JSET_K = 0x45, AND_K = 0x54,
}
const RET_ALLOW = 0x7fff0000, RET_LOG = 0x7ffc0000, RET_ACTION = 0xffff0000;
const UNKNOWN = 0;

/** One system call as a filter sees it; arguments are cut to 64 bits, lowest 32 first. */
export interface FilteredCall { readonly call: number; readonly args: readonly number[] }

/** struct seccomp_data as 16 words: number, architecture, instruction pointer, six arguments. */
function dataOf({ call, args }: FilteredCall): Uint32Array {
  const data = new Uint32Array(16);
  data[0] = call;
  data[1] = AUDIT_ARCH[__ARCH__];
  args.forEach((value, i) => {
    data[4 + 2 * i] = value;
    data[5 + 2 * i] = Math.floor(value / 4294967296);
  });
  return data;
}

/** What the program answers (SECCOMP_RET_*); 0 where it holds an instruction that is not known here. */
function answer(program: Uint8Array, data: Uint32Array): number {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const memory = new Uint32Array(16);
  let a = 0;
  for (let at = 0; at * 8 + 8 <= program.length; at++) { // jumps only lead forward
    const k = view.getUint32(at * 8 + 4, true);
    const jump = (yes: boolean): number => program[at * 8 + (yes ? 2 : 3)] as number;
    switch (view.getUint16(at * 8, true)) {
      case Op.LD_W_ABS: a = data[k / 4] ?? 0; break;
      case Op.LD_IMM: a = k; break;
      case Op.LD_MEM: a = memory[k] ?? 0; break;
      case Op.ST: memory[k] = a; break;
      case Op.AND_K: a = (a & k) >>> 0; break;
      case Op.JA: at += k; break;
      case Op.JEQ_K: at += jump(a === k); break;
      case Op.JGT_K: at += jump(a > k); break;
      case Op.JGE_K: at += jump(a >= k); break;
      case Op.JSET_K: at += jump((a & k) !== 0); break;
      case Op.RET_K: return k;
      case Op.RET_A: return a;
      default: return UNKNOWN;
    }
  }
  return UNKNOWN;
}

/** Does the filter let all these calls through? An instruction that is not known counts as no. */
export function filterAllows(program: Uint8Array, calls: readonly FilteredCall[]): boolean {
  return calls.every((call) => {
    const action = (answer(program, dataOf(call)) & RET_ACTION) >>> 0;
    return action === RET_ALLOW || action === RET_LOG;
  });
}
