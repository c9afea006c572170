// The ipc and uts namespaces that all containers of the sandbox share. A short-lived child makes them; the agent keeps one
// descriptor for each, which pins them (see namespaces(7)); containers join by the path of that descriptor.
import { SysError, sys } from "../sys/call.js";
import { type Fd, fdPath } from "../sys/fd.js";
import { O, open, pipe, readRaw } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { SIG } from "../sys/poll.js";
import { CLONE, exitGroup, kill } from "../sys/process.js";
import { sethostname } from "../sys/system.js";
import { because } from "../lib/errors.js";
import { closeOthers, fork } from "../lib/child-task.js";
import { onExit } from "../lib/reaper.js";

export interface SharedNamespaces {
  readonly ipc: Fd;
  readonly uts: Fd;
}

/** Paths for `linux.namespaces[].path`, good in the agent and in a child that has not closed its descriptors yet. */
export function sharedPaths(shared: SharedNamespaces): { ipc: string; uts: string } {
  return { ipc: fdPath(shared.ipc), uts: fdPath(shared.uts) };
}

/** Makes the namespaces; a host name that is not empty is set in the uts namespace. Throws what unshare(2) says. */
export function makeSharedNamespaces(hostname: string): SharedNamespaces {
  const ready = pipe();
  const hold = pipe();
  const pid = fork();
  if (pid === 0) {
    let errno = 0;
    try {
      closeOthers([ready.write.n, hold.read.n]);
      errno = -sys(NR.unshare, CLONE.NEWIPC | CLONE.NEWUTS);
      if (errno === 0 && hostname !== "") sethostname(hostname);
    } catch {
      errno = errno || 22;
    }
    const answer = new Uint8Array([errno]);
    sys(NR.write, ready.write.n, answer, 1);
    readRaw(hold.read.n, answer, 0, 1); // until the parent has opened the namespaces
    exitGroup(0);
  }
  onExit(pid, () => undefined);
  ready.write.close();
  hold.read.close();
  try {
    const answer = new Uint8Array(1);
    // the child does three system calls that cannot block and answers: no need to go through the loop
    if (readRaw(ready.read.n, answer, 0, 1) !== 1) answer[0] = 5;
    if (answer[0] !== 0) throw because("make the sandbox's ipc and uts namespaces", new SysError("unshare", answer[0] as number));
    const ipc = open(`/proc/${pid}/ns/ipc`, O.RDONLY);
    try {
      return { ipc, uts: open(`/proc/${pid}/ns/uts`, O.RDONLY) };
    } catch (error) {
      ipc.close();
      throw error;
    }
  } finally {
    ready.read.close();
    hold.write.close();
    kill(pid, SIG.KILL);
  }
}

/** Lets go of the namespaces; they live on while a container uses them. */
export function dropSharedNamespaces(shared: SharedNamespaces): void {
  shared.ipc.close();
  shared.uts.close();
}
