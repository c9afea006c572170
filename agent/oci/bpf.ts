// What a seccomp filter would say to a call: its classic BPF program, interpreted. Pure. Used to find out whether the engine's own last
// calls pass a filter that would have to be loaded before them. (seccomp(2); include/uapi/linux/{bpf_common,filter,seccomp}.h)
import { ARCH } from "../abi/flags.js";
import { BPF, BPF_CODE, SECCOMP } from "../abi/filter.js";
import { SeccompData, SockFilter } from "../abi/layouts.js";

const UNKNOWN = 0;

/** One system call as a filter sees it; arguments are cut to 64 bits, lowest 32 first. */
export interface FilteredCall { readonly call: number; readonly args: readonly number[] }

/** struct seccomp_data as words. */
const enum DataWord { ALL = SeccompData.SIZE / 4, NR = SeccompData.nr / 4, ARCH = SeccompData.arch / 4, ARGS = SeccompData.args / 4 }

function dataOf({ call, args }: FilteredCall): Uint32Array {
  const data = new Uint32Array(DataWord.ALL);
  data[DataWord.NR] = call;
  data[DataWord.ARCH] = ARCH.NATIVE;
  args.forEach((value, i) => {
    data[DataWord.ARGS + 2 * i] = value;
    data[DataWord.ARGS + 1 + 2 * i] = Math.floor(value / 4294967296);
  });
  return data;
}

/** What the program answers (SECCOMP_RET_*); 0 where it holds an instruction that is not known here. */
function answer(program: Uint8Array, data: Uint32Array): number {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const memory = new Uint32Array(BPF.MEMWORDS);
  let a = 0;
  for (let at = 0; (at + 1) * SockFilter.SIZE <= program.length; at++) { // jumps only lead forward
    const k = view.getUint32(at * SockFilter.SIZE + SockFilter.k, true);
    const jump = (yes: boolean): number => program[at * SockFilter.SIZE + (yes ? SockFilter.jt : SockFilter.jf)] as number;
    switch (view.getUint16(at * SockFilter.SIZE + SockFilter.code, true)) {
      case BPF_CODE.LD_W_ABS: a = data[k / 4] ?? 0; break;
      case BPF_CODE.LD_IMM: a = k; break;
      case BPF_CODE.LD_MEM: a = memory[k] ?? 0; break;
      case BPF_CODE.ST: memory[k] = a; break;
      case BPF_CODE.AND_K: a = (a & k) >>> 0; break;
      case BPF_CODE.JA: at += k; break;
      case BPF_CODE.JEQ_K: at += jump(a === k); break;
      case BPF_CODE.JGT_K: at += jump(a > k); break;
      case BPF_CODE.JGE_K: at += jump(a >= k); break;
      case BPF_CODE.JSET_K: at += jump((a & k) !== 0); break;
      case BPF_CODE.RET_K: return k;
      case BPF_CODE.RET_A: return a;
      default: return UNKNOWN;
    }
  }
  return UNKNOWN;
}

/** Does the filter let all these calls through? An instruction that is not known counts as no. */
export function filterAllows(program: Uint8Array, calls: readonly FilteredCall[]): boolean {
  return calls.every((call) => {
    const action = (answer(program, dataOf(call)) & SECCOMP.RET_ACTION_FULL) >>> 0;
    return action === SECCOMP.RET_ALLOW || action === SECCOMP.RET_LOG;
  });
}
