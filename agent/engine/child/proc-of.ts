// procfs of a pid namespace that the caller is not in: a file system context shows the pid namespace of the process that opened it
// (fsopen(2)), so somebody has to be in there for a moment, where a container's processes see him. He has nothing to give away:
// the stub's few instructions, an empty root of its own, no open file but one end of a socket, and a filter that lets him make the six
// calls that he and his twin make. The context's descriptor is taken from his twin outside, which shares the table of descriptors.
import { CAP, CLONE, FSOPEN, MAGIC, MNT, MS, O, SIG, SOCK } from "../../abi/flags.js";
import { SeccompData, SockFilter } from "../../abi/layouts.js";
import { BPF_CODE, SECCOMP } from "../../abi/filter.js";
import { must, SysError } from "../../sys/call.js";
import { dropBounding } from "../../sys/cred.js";
import type { Fd } from "../../sys/fd.js";
import { chdir, fchdir, open, readRaw, statfs } from "../../sys/file.js";
import { mount, mountOf, moveMountFds, pivotRoot, umount } from "../../sys/mount.js";
import { NR } from "../../abi/nr.js";
import { waitReadable } from "../../sys/poll.js";
import { clone3, type Cloned, exitGroup, killOwn, pidfdGetfd, pidfdOpen, pidfdSendSignal, setns, unshare } from "../../sys/process.js";
import { socketpair } from "../../sys/socket.js";
import { waitFor } from "../../sys/wait.js";
import { AppError, attempt } from "../../lib/errors.js";
import { closeOthers } from "../../lib/fork.js";
import { LAST_CAP } from "../../oci/caps.js";
import { Failed } from "../handshake.js";
import { allPids, statFields } from "../process-identity.js";
import { becomeStub, filterStep, type LastStep, makeStub } from "./exec-stub.js";
import { emptyFolder } from "./root-tree.js";

/** A filter that allows these calls and kills at every other. */
function only(calls: readonly number[]): Uint8Array {
  const program = new Uint8Array((calls.length + 3) * SockFilter.SIZE);
  const view = new DataView(program.buffer);
  const put = (i: number, op: number, yes: number, k: number): void => {
    view.setUint16(i * SockFilter.SIZE + SockFilter.code, op, true);
    view.setUint8(i * SockFilter.SIZE + SockFilter.jt, yes);
    view.setUint32(i * SockFilter.SIZE + SockFilter.k, k, true);
  };
  put(0, BPF_CODE.LD_W_ABS, 0, SeccompData.nr);
  calls.forEach((call, i) => put(i + 1, BPF_CODE.JEQ_K, calls.length - i, call));
  put(calls.length + 1, BPF_CODE.RET_K, 0, SECCOMP.RET_KILL_PROCESS);
  put(calls.length + 2, BPF_CODE.RET_K, 0, SECCOMP.RET_ALLOW);
  return program;
}

function steps(answer: number): LastStep[] {
  return [
    filterStep({ program: only([NR.clone, NR.fsopen, NR.write, NR.wait4, NR.read, NR.exit_group]), flags: 0 }),
    { call: NR.clone, args: [CLONE.FILES + SIG.CHLD, 0, 0, 0, 0], failed: Failed.CLONE, zeroGoesTo: "inside" },
    { call: NR.wait4, args: [-1, 0, 0, 0], optional: true },
    { call: NR.read, args: [answer, { at: "buffer" }, 1], optional: true }, // until the other end is closed
    { call: NR.exit_group, args: [0] },
    { call: NR.fsopen, args: [native.utf8Encode("proc\0"), FSOPEN.CLOEXEC], name: "inside" },
    { call: NR.write, args: [answer, { at: "inside" }, 8] },
    { call: NR.exit_group, args: [0] },
  ];
}

/** The twin outside: leaves everything behind but an empty root, and becomes the stub. Never comes back. */
function goOutside(pidNamespace: Fd, answer: Fd): never {
  try {
    unshare(CLONE.NEWNS);
    mount(undefined, "/", undefined, MS.REC | MS.PRIVATE);
    using empty = emptyFolder();
    using old = open("/", O.PATH | O.DIRECTORY);
    moveMountFds(empty, old);
    fchdir(empty);
    pivotRoot(".", ".");
    umount(".", MNT.DETACH);
    chdir("/");
    setns(pidNamespace, CLONE.NEWPID);
    for (let cap = 0; cap <= LAST_CAP; cap++) if (cap !== CAP.SYS_ADMIN) dropBounding(cap); // fsopen(2) asks for that one
    const file = makeStub(answer.n, steps(answer.n));
    must("close_range", NR.close_range, 0, 2, 0);
    closeOthers([answer.n, file.n]);
    becomeStub(file, [answer], "/", [], []);
  } finally {
    exitGroup(127);
  }
}

const INSIDE_SECONDS = 1;

/** The number of the context's descriptor in the table of the twin, as the one inside tells it; undefined when somebody there has stopped or killed it. */
function told(from: Fd): number | undefined {
  if (!waitReadable(from, INSIDE_SECONDS)) return undefined;
  const bytes = new Uint8Array(16);
  const n = readRaw(from.n, bytes, 0, bytes.length);
  if (n === 3) throw new SysError("fsopen", bytes[1] as number); // see exec-stub.ts
  if (n !== 8) throw new AppError("internal", "nobody could go into the pid namespace");
  return new Int32Array(bytes.buffer)[0] as number;
}

/** Kills who was sent inside and has been stopped there: nobody is left behind. By the engine's own /proc, which still is this process's. */
function killChildOf(twin: Cloned): void {
  const isChild = (pid: number): boolean => statFields(pid)?.[1] === String(twin.pid);
  for (const pid of allPids().filter(isChild)) {
    using child = pidfdOpen(pid);
    if (isChild(pid)) pidfdSendSignal(child, SIG.KILL); // its number was not another's when it was opened
  }
}

function contextIn(pidNamespace: Fd): Fd | undefined {
  const [here, there] = socketpair(SOCK.SEQPACKET);
  let twin: Cloned | undefined;
  try {
    const made = clone3(0);
    if (made === 0) goOutside(pidNamespace, there);
    if (typeof made === "number") throw new SysError("clone3", -made);
    twin = made;
    there.close();
    const n = told(here);
    if (n === undefined) killChildOf(twin);
    return n === undefined ? undefined : pidfdGetfd(twin.pidfd, n);
  } finally {
    here.close();
    there.close();
    if (twin !== undefined) {
      killOwn(twin);
      waitFor(twin.pid);
      twin.pidfd.close();
    }
  }
}

const TRIES = 3;

function attempts(pidNamespace: Fd): Fd {
  for (let left = TRIES; left > 0; left--) {
    const context = contextIn(pidNamespace);
    if (context !== undefined) return context;
  }
  throw new AppError("precondition", "processes in it stop or kill whoever comes in");
}

/**
 * A detached mount of the procfs that shows `pidNamespace` (a namespace's descriptor, or a pidfd); `data` are options as mount(2) takes
 * them. In a child, while it has every right. Throws SysError or AppError.
 */
export function procOf(pidNamespace: Fd, data: string, attributes: number): Fd {
  return attempt("open the proc file system of the pid namespace", () => {
    using context = attempts(pidNamespace);
    const options = data === "" ? [] : data.split(",").map((option) => option.split("=", 2) as [string, string?]);
    const tree = mountOf(context, [["source", "proc"], ...options], attributes);
    if (statfs(tree).type === MAGIC.PROC_SUPER_MAGIC) return tree;
    tree.close();
    throw new AppError("denied", "a process of the container interfered");
  });
}
