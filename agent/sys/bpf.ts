// Programs for the kernel: the device program of a cgroup (bpf(2)) and seccomp filters (seccomp(2)).
import { must, SysError, sys } from "./call.js";
import { E } from "../abi/errno.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { setU64, viewOf } from "./struct.js";

const enum BPF { PROG_LOAD = 5, PROG_ATTACH = 8, PROG_DETACH = 9, PROG_GET_FD_BY_ID = 13, PROG_QUERY = 16, TYPE_CGROUP_DEVICE = 15, CGROUP_DEVICE = 6, ALLOW_MULTI = 2, REPLACE = 4 }
const ATTR_BYTES = 128;

/** Loads a BPF_PROG_TYPE_CGROUP_DEVICE program (8 bytes an instruction). */
export function loadDeviceProgram(code: Uint8Array): Fd {
  const license = new Uint8Array([0x47, 0x50, 0x4c, 0]); // "GPL"
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(0, BPF.TYPE_CGROUP_DEVICE, true);
  view.setUint32(4, code.length / 8, true);
  setU64(view, 8, native.addressOf(code));
  setU64(view, 16, native.addressOf(license));
  const fd = must("bpf(BPF_PROG_LOAD)", NR.bpf, BPF.PROG_LOAD, attr, ATTR_BYTES);
  return new Fd(license.length === 4 ? fd : -1); // the kernel reads `license` during the call: it must outlive it
}

/** Attaches a device program to a cgroup (version 2), in place of `old` when it is given. */
export function attachDeviceProgram(cgroup: Fd, program: Fd, old?: Fd): void {
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(0, cgroup.n, true);
  view.setUint32(4, program.n, true);
  view.setUint32(8, BPF.CGROUP_DEVICE, true);
  view.setUint32(12, BPF.ALLOW_MULTI | (old === undefined ? 0 : BPF.REPLACE), true);
  if (old !== undefined) view.setUint32(16, old.n, true);
  must("bpf(BPF_PROG_ATTACH)", NR.bpf, BPF.PROG_ATTACH, attr, 32);
}

/** Detaches a device program; one that is not attached is no error. */
export function detachDeviceProgram(cgroup: Fd, program: Fd): void {
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(0, cgroup.n, true);
  view.setUint32(4, program.n, true);
  view.setUint32(8, BPF.CGROUP_DEVICE, true);
  sys(NR.bpf, BPF.PROG_DETACH, attr, 32);
}

/** The device programs that are attached to a cgroup itself (at most 16); the caller closes them. */
export function attachedDevicePrograms(cgroup: Fd): Fd[] {
  const ids = new Uint32Array(16);
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(0, cgroup.n, true);
  view.setUint32(4, BPF.CGROUP_DEVICE, true);
  setU64(view, 16, native.addressOf(ids.buffer as ArrayBuffer));
  view.setUint32(24, ids.length, true);
  must("bpf(BPF_PROG_QUERY)", NR.bpf, BPF.PROG_QUERY, attr, 32);
  const programs: Fd[] = [];
  try {
    for (let i = 0; i < view.getUint32(24, true); i++) {
      const byId = new Uint8Array(ATTR_BYTES);
      viewOf(byId).setUint32(0, ids[i] as number, true);
      programs.push(new Fd(must("bpf(BPF_PROG_GET_FD_BY_ID)", NR.bpf, BPF.PROG_GET_FD_BY_ID, byId, 12)));
    }
    return programs;
  } catch (error) {
    for (const program of programs) program.close();
    throw error;
  }
}

/** The most instructions of a filter (include/uapi/linux/bpf_common.h). */
const BPF_MAXINSNS = 4096;

/**
 * Installs a seccomp filter (SECCOMP_SET_MODE_FILTER) for this thread: `filter` is an array of struct sock_filter, 8 bytes
 * each. Needs no_new_privs or CAP_SYS_ADMIN. With SECCOMP_FILTER_FLAG_NEW_LISTENER the listener's number comes back.
 */
export function installSeccomp(filter: Uint8Array, flags: number): number {
  const count = filter.length / 8;
  if (!Number.isInteger(count) || count < 1 || count > BPF_MAXINSNS) throw new SysError("seccomp", E.EINVAL); // the length has 16 bits: cut, another filter would be loaded
  const program = new Uint8Array(16); // struct sock_fprog
  const view = viewOf(program);
  view.setUint16(0, count, true);
  setU64(view, 8, native.addressOf(filter));
  return must("seccomp", NR.seccomp, 1, flags, program);
}

