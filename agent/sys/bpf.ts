// Programs for the kernel: the device program of a cgroup (bpf(2)) and seccomp filters (seccomp(2)).
import { BpfAttr, BpfInsn, SockFilter, SockFprog } from "../abi/layouts.js";
import { BPF, SECCOMP } from "../abi/filter.js";
import { must, SysError, sys } from "./call.js";
import { E } from "../abi/errno.js";
import { Fd } from "./fd.js";
import { NR } from "../abi/nr.js";
import { keepAlive, setU64, viewOf } from "./struct.js";

const ATTR_BYTES = 128; // more than the kernel looks at; what it does not know has to be 0

/** Loads a BPF_PROG_TYPE_CGROUP_DEVICE program (8 bytes an instruction). */
export function loadDeviceProgram(code: Uint8Array): Fd {
  const license = new Uint8Array([0x47, 0x50, 0x4c, 0]); // "GPL"
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(BpfAttr.prog_type, BPF.PROG_TYPE_CGROUP_DEVICE, true);
  view.setUint32(BpfAttr.insn_cnt, code.length / BpfInsn.SIZE, true);
  setU64(view, BpfAttr.insns, native.addressOf(code));
  setU64(view, BpfAttr.license, native.addressOf(license));
  const fd = must("bpf(BPF_PROG_LOAD)", NR.bpf, BPF.PROG_LOAD, attr, ATTR_BYTES);
  keepAlive(code, license);
  return new Fd(fd);
}

/** Attaches a device program to a cgroup (version 2), in place of `old` when it is given. */
export function attachDeviceProgram(cgroup: Fd, program: Fd, old?: Fd): void {
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(BpfAttr.target_fd, cgroup.n, true);
  view.setUint32(BpfAttr.attach_bpf_fd, program.n, true);
  view.setUint32(BpfAttr.attach_type, BPF.CGROUP_DEVICE, true);
  view.setUint32(BpfAttr.attach_flags, BPF.F_ALLOW_MULTI | (old === undefined ? 0 : BPF.F_REPLACE), true);
  if (old !== undefined) view.setUint32(BpfAttr.replace_bpf_fd, old.n, true);
  must("bpf(BPF_PROG_ATTACH)", NR.bpf, BPF.PROG_ATTACH, attr, ATTR_BYTES);
}

/** Detaches a device program; one that is not attached is no error. */
export function detachDeviceProgram(cgroup: Fd, program: Fd): void {
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(BpfAttr.target_fd, cgroup.n, true);
  view.setUint32(BpfAttr.attach_bpf_fd, program.n, true);
  view.setUint32(BpfAttr.attach_type, BPF.CGROUP_DEVICE, true);
  sys(NR.bpf, BPF.PROG_DETACH, attr, ATTR_BYTES);
}

/** The device programs that are attached to a cgroup itself (at most 16); the caller closes them. */
export function attachedDevicePrograms(cgroup: Fd): Fd[] {
  const ids = new Uint32Array(16);
  const attr = new Uint8Array(ATTR_BYTES);
  const view = viewOf(attr);
  view.setUint32(BpfAttr["query.target_fd"], cgroup.n, true);
  view.setUint32(BpfAttr["query.attach_type"], BPF.CGROUP_DEVICE, true);
  setU64(view, BpfAttr["query.prog_ids"], native.addressOf(ids.buffer as ArrayBuffer));
  view.setUint32(BpfAttr["query.prog_cnt"], ids.length, true);
  must("bpf(BPF_PROG_QUERY)", NR.bpf, BPF.PROG_QUERY, attr, ATTR_BYTES);
  const programs: Fd[] = [];
  try {
    for (let i = 0; i < view.getUint32(BpfAttr["query.prog_cnt"], true); i++) {
      const byId = new Uint8Array(ATTR_BYTES);
      viewOf(byId).setUint32(BpfAttr.prog_id, ids[i] as number, true);
      programs.push(new Fd(must("bpf(BPF_PROG_GET_FD_BY_ID)", NR.bpf, BPF.PROG_GET_FD_BY_ID, byId, ATTR_BYTES)));
    }
    return programs;
  } catch (error) {
    for (const program of programs) program.close();
    throw error;
  }
}

/**
 * Installs a seccomp filter (SECCOMP_SET_MODE_FILTER) for this thread: `filter` is an array of struct sock_filter, 8 bytes
 * each. Needs no_new_privs or CAP_SYS_ADMIN. With SECCOMP_FILTER_FLAG_NEW_LISTENER the listener's number comes back.
 */
export function installSeccomp(filter: Uint8Array, flags: number): number {
  const count = filter.length / SockFilter.SIZE;
  if (!Number.isInteger(count) || count < 1 || count > BPF.MAXINSNS) throw new SysError("seccomp", E.EINVAL); // the length has 16 bits: cut, another filter would be loaded
  const program = new Uint8Array(SockFprog.SIZE);
  const view = viewOf(program);
  view.setUint16(SockFprog.len, count, true);
  setU64(view, SockFprog.filter, native.addressOf(filter));
  return must("seccomp", NR.seccomp, SECCOMP.SET_MODE_FILTER, flags, program);
}

