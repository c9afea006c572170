// User namespaces from outside: the maps of a new one, and namespaces that exist only for the ids of id-mapped mounts. Loaded when a
// container has a user namespace or such mounts. Sources: user_namespaces(7), newuidmap(1), mount_setattr(2).
import { CLONE, O, SIG } from "../../abi/flags.js";
import { check, sys } from "../../sys/call.js";
import type { Fd } from "../../sys/fd.js";
import { exists, memfdCreate, open } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { kill, sleepForEver } from "../../sys/process.js";
import { waitFor } from "../../sys/wait.js";
import { AppError, attempt, messageOf } from "../../lib/errors.js";
import { fork, runProgram } from "../../lib/fork.js";
import { readText, writeText } from "../../lib/fs.js";
import { lazy } from "../../lib/lazy.js";
import { lines, words } from "../../lib/text.js";
import type { IdMapping } from "../../oci/spec.js";

const hooks = lazy<typeof import("../hooks.js")>("engine/hooks.js");

export interface Maps { readonly uids: readonly IdMapping[]; readonly gids: readonly IdMapping[] }

const asText = (maps: readonly IdMapping[]): string => maps.map((m) => `${m.containerID} ${m.hostID} ${m.size}\n`).join("");

/** Would a user without privileges write this map on its own? It then gives up changing its groups (CVE-2014-8989). */
const isOwn = (maps: readonly IdMapping[], id: number): boolean => maps.length === 1 && maps[0]?.size === 1 && maps[0].hostID === id;

/** Are the groups of the processes in a namespace with these maps fixed? */
export function groupsAreFixed({ gids }: Maps): boolean {
  return sys(NR.geteuid) !== 0 && isOwn(gids, sys(NR.getegid));
}

/** Writes the maps of a child's new user namespace; without privileges with the help of newuidmap(1) and newgidmap(1). */
export function writeMaps(pid: number, { uids, gids }: Maps): void {
  if (sys(NR.geteuid) === 0) {
    writeText(`/proc/${pid}/uid_map`, asText(uids));
    writeText(`/proc/${pid}/gid_map`, asText(gids));
    return;
  }
  if (isOwn(uids, sys(NR.geteuid))) writeText(`/proc/${pid}/uid_map`, asText(uids));
  else mapByProgram("newuidmap", pid, uids);
  if (isOwn(gids, sys(NR.getegid))) {
    writeText(`/proc/${pid}/setgroups`, "deny");
    writeText(`/proc/${pid}/gid_map`, asText(gids));
  } else mapByProgram("newgidmap", pid, gids);
}

function mapByProgram(name: string, pid: number, maps: readonly IdMapping[]): void {
  const program = ["/usr/bin/", "/bin/", "/usr/local/bin/", "/run/current-system/sw/bin/"].map((dir) => dir + name).find((path) => exists(path));
  if (program === undefined) throw new AppError("denied", `linux.${name === "newuidmap" ? "uid" : "gid"}Mappings: only root may map these ids, or the program ${name}, which is not here`);
  const argv = [program, String(pid), ...maps.flatMap((m) => [m.containerID, m.hostID, m.size].map(String))];
  using output = memfdCreate("output");
  const child = fork();
  if (child === 0) runProgram({ argv, env: [], stdout: output, stderr: output });
  const status = check("wait4", waitFor(child));
  if (status === 0) return;
  try {
    hooks().judge(status, output);
  } catch (error) {
    throw new AppError("denied", `${argv.join(" ")}: ${messageOf(error)} (see /etc/subuid and /etc/subgid)`);
  }
}

/** A new user namespace with these maps, kept by its descriptor alone: the process that made it is gone on return. */
export function makeUserNamespace(maps: Maps): Fd {
  const pid = check("clone", sys(NR.clone, SIG.CHLD + CLONE.NEWUSER, 0, 0, 0, 0));
  if (pid === 0) sleepForEver();
  try {
    return attempt("map the ids of a mount", () => {
      writeMaps(pid, maps);
      return open(`/proc/${pid}/ns/user`, O.RDONLY);
    });
  } finally {
    kill(pid, SIG.KILL);
    waitFor(pid);
  }
}

/** In a process that has joined a user namespace: are its maps those? Throws AppError "invalid". */
export function checkMaps({ uids, gids }: Maps): void {
  for (const [kind, wanted] of [["uid", uids], ["gid", gids]] as const) {
    if (wanted.length === 0) continue;
    const is = lines(readText(`/proc/self/${kind}_map`)).map((line) => words(line).join(" ")).sort();
    const asked = lines(asText(wanted)).sort();
    if (is.join() !== asked.join()) throw new AppError("invalid", `linux.${kind}Mappings: the user namespace has other ids: ${is.join(", ")}`);
  }
}
