// The ipc and uts namespaces that all containers of the sandbox share. A short-lived child makes them; the agent keeps one
// descriptor for each, which pins them (see namespaces(7)); containers join by the path of that descriptor.
import { CLONE, O } from "../abi/flags.js";
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { type Fd, fdPath, handOver } from "../sys/fd.js";
import { open, pipe, readRaw } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { exitGroup } from "../sys/process.js";
import { sethostname } from "../sys/system.js";
import { because } from "../lib/errors.js";
import { closeOthers, fork } from "../lib/fork.js";
import { killChild, onExit } from "../lib/reaper.js";

export interface SharedNamespaces {
  readonly ipc: Fd;
  readonly uts: Fd;
}

/** Paths for `linux.namespaces[].path`, good in the agent and in a child that has not closed its descriptors yet. */
export function sharedPaths(shared: SharedNamespaces): { ipc: string; uts: string } {
  return { ipc: fdPath(shared.ipc), uts: fdPath(shared.uts) };
}

/** The child: makes them, says how that went, and lives until they have been opened. */
function hold(hostname: string, ready: Fd, until: Fd): never {
  let errno = 0;
  try {
    closeOthers([ready.n, until.n]);
    errno = -sys(NR.unshare, CLONE.NEWIPC | CLONE.NEWUTS);
    if (errno === 0 && hostname !== "") sethostname(hostname);
  } catch (error) {
    errno = errno || (error instanceof SysError ? error.errno : E.EINVAL);
  } finally {
    const answer = new Uint8Array([errno]);
    sys(NR.write, ready.n, answer, 1);
    readRaw(until.n, answer, 0, 1);
    exitGroup(0);
  }
}

/** Makes the namespaces; a host name that is not empty is set in the uts namespace. Throws what unshare(2) says; nothing is left then. */
export function makeSharedNamespaces(hostname: string): SharedNamespaces {
  const held: Fd[] = [];
  const make = (): ReturnType<typeof pipe> => {
    const ends = pipe();
    held.push(ends.read, ends.write);
    return ends;
  };
  let pid = 0;
  try {
    const ready = make();
    const until = make();
    pid = fork();
    if (pid === 0) hold(hostname, ready.write, until.read);
    onExit(pid, () => undefined);
    ready.write.close();
    // the child does three system calls that cannot block and answers: no need to go through the loop
    const answer = new Uint8Array(1);
    if (readRaw(ready.read.n, answer, 0, 1) !== 1) answer[0] = E.EIO;
    if (answer[0] !== 0) throw new SysError("unshare", answer[0] as number);
    return handOver(open(`/proc/${pid}/ns/ipc`, O.RDONLY), (ipc) => ({ ipc, uts: open(`/proc/${pid}/ns/uts`, O.RDONLY) }));
  } catch (error) {
    throw because("make the sandbox's ipc and uts namespaces", error);
  } finally {
    for (const fd of held) fd.close();
    killChild(pid);
  }
}

/** Lets go of the namespaces; they live on while a container uses them. */
export function dropSharedNamespaces(shared: SharedNamespaces): void {
  shared.ipc.close();
  shared.uts.close();
}
