// Steps on the process itself, in the child: limits, names, namespaces, and last its identity and rights, given up in the one
// order that works (container-engine 1.9, 2.2 steps 21 to 26). Synchronous; throws what failed.
import { ACCESS, AT, CAP, CLONE, O, S } from "../../abi/flags.js";
import { isErrno, sys } from "../../sys/call.js";
import { capget, clearAmbient, capset, dropBounding, raiseAmbient, setgroups, setKeepCaps, setresgid, setresuid } from "../../sys/cred.js";
import { E } from "../../abi/errno.js";
import type { Fd } from "../../sys/fd.js";
import { chdir, dup2, exists, fstat, getcwd, modeOf, open, stat, umask } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { prlimit, resetAffinity, setdomainname, setNoNewPrivs, setns, unshare } from "../../sys/process.js";
import { sethostname } from "../../sys/system.js";
import { bytesText } from "../../sys/utf8.js";
import { AppError, attempt, because } from "../../lib/errors.js";
import { mkdirs, readFd, writeText } from "../../lib/fs.js";
import { loopbackUp } from "../../lib/loopback.js";
import { lines } from "../../lib/text.js";
import { hasCap, LAST_CAP } from "../../oci/caps.js";
import { lazy } from "../../lib/lazy.js";
import { cleanPath } from "../../oci/field.js";
import type { ProcessPlan } from "../../oci/plan.js";
import { describe, type Step } from "../../oci/steps.js";
import { openNamespace } from "../namespace.js";

const schedule = lazy<typeof import("./schedule.js")>("engine/child/schedule.js");
const sysctl = lazy<typeof import("./sysctl.js")>("engine/child/sysctl.js");

type Join = Extract<Step, { do: "join" }>;
/** A namespace that is to be joined, open. */
export interface Opened { readonly step: Join; readonly fd: Fd }

/**
 * Opens all namespaces before the first is joined: their paths may vanish with it, or name descriptors that are closed soon. Throws
 * "invalid" for the mount namespace that this process is in: the container's root would become that of the engine and everybody else.
 */
export function openNamespaces(steps: readonly Step[]): Opened[] {
  return steps.filter((s) => s.do === "join").map((step) => {
    const fd = openNamespace(step.path);
    if (step.kind === CLONE.NEWNS && fstat(fd).ino === stat("/proc/self/ns/mnt").ino) throw new AppError("invalid", `${describe(step)}: it is the runtime's own`);
    return { step, fd };
  });
}

/** Joins them in their order. */
export function joinNamespaces(opened: readonly Opened[]): void {
  for (const { step, fd } of opened) {
    attemptStep(step, () => setns(fd, step.kind));
    fd.close();
  }
}

/** Does what a step says; a failure names the field that asks for it. */
export function attemptStep(step: Step, go: () => unknown): void {
  try {
    go();
  } catch (error) {
    throw because(describe(step), error);
  }
}

/** Does one step; false when it is not one of the process's. */
export function applyToProcess(step: Step): boolean {
  switch (step.do) {
    case "join-cgroups": for (const path of step.paths) writeText(path, "0"); break;
    case "affinity":
      if (step.cpus === undefined) resetAffinity(); // a kernel that says no leaves the caller's CPUs
      else schedule().applyAffinity(step.cpus);
      break;
    case "oom-score": writeText("/proc/self/oom_score_adj", String(step.value)); break;
    case "rlimit": prlimit(0, step.resource, step.soft, step.hard); break;
    case "new-cgroup-namespace": unshare(CLONE.NEWCGROUP); break;
    case "loopback": loopbackUp(); break;
    case "hostname": sethostname(step.name); break;
    case "domainname": setdomainname(step.name); break;
    case "sysctl": sysctl().applySysctl(step.key, step.value); break;
    default: return false;
  }
  return true;
}

/** Puts the three streams in place. */
export function takeStdio(stdin: Fd, stdout: Fd, stderr: Fd): void {
  dup2(stdin, 0);
  dup2(stdout, 1);
  dup2(stderr, 2);
}

const PTS = 136; // major number of the first 256 pseudo-terminals; there are eight such

/** Gives the streams to the user, so that it may open /proc/self/fd/1 again; a device such as /dev/null is everybody's. */
function chownStdio(uid: number): void {
  if (uid === 0) return;
  for (const n of [0, 1, 2]) {
    const { mode, rdevMajor } = fstat(n);
    const type = mode & S.IFMT;
    if (type === S.IFBLK || (type === S.IFCHR && (rdevMajor < PTS || rdevMajor >= PTS + 8))) continue;
    sys(NR.fchown, n, uid, -1); // EPERM, EROFS: the stream is not ours to give
  }
}

/** The working directory must lie inside the root: a leaked descriptor of a host folder would not (CVE-2024-21626). */
function checkCwd(): void {
  const cwd = getcwd();
  if (!cwd.startsWith("/")) throw new AppError("denied", `the working directory lies outside the root: ${cwd}`);
}

function enterCwd(cwd: string): void {
  try {
    chdir(cwd);
  } catch (error) {
    if (!isErrno(error, E.ENOENT)) throw error;
    umask(0);
    mkdirs(cleanPath(cwd));
    chdir(cwd);
  }
}

const PASSWD_MAX = 1 << 20;

/** The home directory of a uid in the container's /etc/passwd, which may be anything: "/" when it has none. */
function homeOf(uid: number): string {
  try {
    using file = open("/etc/passwd", O.RDONLY | O.NONBLOCK);
    if ((modeOf(file) & S.IFMT) !== S.IFREG) return "/";
    for (const line of lines(bytesText(readFd(file, "passwd", PASSWD_MAX)))) {
      const fields = line.split(":");
      if (fields[2] === String(uid) && fields[5]) return fields[5];
    }
  } catch {
    // an unreadable passwd file is no reason not to run
  }
  return "/";
}

/** The environment with HOME. */
export function withHome(plan: ProcessPlan): readonly string[] {
  return plan.env.some((e) => e.startsWith("HOME=") && e.length > 5) ? plan.env : [...plan.env.filter((e) => e !== "HOME="), `HOME=${homeOf(plan.uid)}`];
}

const PATH_MAX = 4096;

/** Where a program may be by its name, one at a time: a PATH may be megabytes long. What no path can be is left out. */
function* placesOf(name: string, path: string): Generator<string> {
  for (let at = 0; at <= path.length; ) {
    const end = path.indexOf(":", at);
    const dir = path.slice(at, end < 0 ? path.length : end);
    if (dir.length < PATH_MAX) yield `${dir || "."}/${name}`;
    at = end < 0 ? path.length + 1 : end + 1;
  }
}

/** The program's path: args[0] if it has a slash, else the first match in the environment's PATH. Throws a text hosts know. */
export function findProgram(plan: ProcessPlan, env: readonly string[]): string {
  const name = plan.program ?? plan.args[0];
  if (name === undefined) return ""; // a container without a process
  const path = env.find((e) => e.startsWith("PATH="))?.slice(5) ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  let denied = false;
  for (const candidate of name.includes("/") ? [name] : placesOf(name, path)) {
    if (!exists(candidate)) continue;
    const folder = (stat(candidate).mode & S.IFMT) === S.IFDIR;
    if (folder && !name.includes("/")) continue;
    if (!folder && sys(NR.faccessat2, AT.FDCWD, candidate, ACCESS.X_OK, AT.EACCESS) === 0) return candidate;
    denied = true;
  }
  if (denied) throw new AppError("internal", `process.args[0]: exec "${name}": permission denied`);
  throw new AppError("internal", `process.args[0]: the file ${name} was not found: ${name.includes("/") ? "no such file or directory" : "executable file not found in $PATH"}`);
}

/** What needs rights: the bounding set, and the ids; the capabilities that are permitted stay. */
function dropIdentity(plan: ProcessPlan): void {
  const { bounding } = plan.caps;
  for (let cap = 0; cap <= LAST_CAP; cap++) {
    if (!hasCap(bounding, cap) && dropBounding(cap) === -E.EPERM) throw new AppError("internal", "may not drop capabilities from the bounding set");
  }
  setKeepCaps(true);
  const { gids } = plan;
  if (gids !== undefined) attempt("process.user.additionalGids", () => setgroups(gids));
  attempt(`process.user.gid ${plan.gid}`, () => setresgid(plan.gid));
  attempt(`process.user.uid ${plan.uid}`, () => setresuid(plan.uid));
  setKeepCaps(false);
}

/** The program's own rights and no others; only capset and prctl are left to do. */
export function takeRights({ caps: { permitted, effective, inheritable, ambient } }: ProcessPlan): void {
  capset(effective, permitted, inheritable);
  clearAmbient();
  for (let cap = 0; cap <= LAST_CAP; cap++) if (hasCap(ambient, cap)) raiseAmbient(cap); // needs permitted and inheritable; refused is no error
}

/**
 * Becomes what the plan says. `keepsRight` is for who needs CAP_SYS_ADMIN once more, to load a filter without no_new_privs: it keeps this
 * one right besides the process's own, until `takeRights`.
 */
export function becomeUser(plan: ProcessPlan, keepsRight: boolean): void {
  if (plan.traits !== undefined) schedule().applyTraits(plan.traits);
  chownStdio(plan.uid);
  let entered = true;
  try {
    enterCwd(plan.cwd);
  } catch (error) {
    if (!isErrno(error, E.EACCES, E.EPERM)) throw because(`process.cwd: chdir to "${plan.cwd}"`, error);
    entered = false; // the user may be allowed where root is not (a network file system)
  }
  umask(plan.umask);
  dropIdentity(plan);
  if (keepsRight) {
    const { permitted, inheritable } = capget();
    const { low, high } = plan.caps.effective;
    capset({ low: low | (permitted.low & (1 << CAP.SYS_ADMIN)), high }, permitted, inheritable);
  } else takeRights(plan);
  if (!entered) attempt(`process.cwd: chdir to "${plan.cwd}"`, () => chdir(plan.cwd));
  checkCwd();
  if (plan.noNewPrivileges) setNoNewPrivs();
}
