// Steps on the process itself, in the child: limits, names, namespaces, and last its identity and rights, given up in the one
// order that works (facts 1.9, 2.2 steps 21 to 26). Synchronous; throws what failed.
import { isErrno, must, sys } from "../sys/call.js";
import { clearAmbient, capset, dropBounding, raiseAmbient, setgroups, setKeepCaps, setresgid, setresuid } from "../sys/cred.js";
import { E } from "../sys/errno.js";
import { Fd } from "../sys/fd.js";
import { AT_FDCWD, chdir, dup2, exists, getcwd, O, open, S, stat, umask } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { CLONE, prlimit, setdomainname, setNoNewPrivs, setns, unshare } from "../sys/process.js";
import { AF, SOCK, socket } from "../sys/socket.js";
import { sethostname } from "../sys/system.js";
import { setControllingTerminal } from "../sys/tty.js";
import { AppError } from "../lib/errors.js";
import { mkdirs, readTextIf, writeText } from "../lib/fs.js";
import { lines } from "../lib/text.js";
import { hasCap, LAST_CAP } from "../oci/caps.js";
import { cleanPath } from "../oci/check.js";
import type { ProcessPlan } from "../oci/plan.js";
import type { Step } from "../oci/steps.js";

const SIOCSIFFLAGS = 0x8914;
const IFF_UP_RUNNING = 0x41;

/** Opens all namespaces first (their paths may vanish with the first one joined), then joins them, a user namespace first. */
export function joinNamespaces(steps: readonly Step[]): void {
  const joins = steps.filter((s) => s.do === "join").map((s) => ({ kind: s.kind, fd: open(s.path, O.RDONLY) }));
  joins.sort((a, b) => Number(b.kind === CLONE.NEWUSER) - Number(a.kind === CLONE.NEWUSER));
  for (const { fd, kind } of joins) {
    setns(fd, kind);
    fd.close();
  }
}

/** Brings the loopback interface of a new network namespace up. See netdevice(7). */
function loopbackUp(): void {
  using fd = socket(AF.INET, SOCK.DGRAM);
  const request = new Uint8Array(40);
  request.set([0x6c, 0x6f]); // "lo"
  request[16] = IFF_UP_RUNNING;
  must("ioctl(SIOCSIFFLAGS)", NR.ioctl, fd.n, SIOCSIFFLAGS, request);
}

/** Does one step; false when it is not one of the process's. */
export function applyToProcess(step: Step): boolean {
  switch (step.do) {
    case "join-cgroups": for (const path of step.paths) writeText(path, "0"); break;
    case "oom-score": writeText("/proc/self/oom_score_adj", String(step.value)); break;
    case "rlimit": prlimit(0, step.resource, step.soft, step.hard); break;
    case "new-cgroup-namespace": unshare(CLONE.NEWCGROUP); break;
    case "loopback": loopbackUp(); break;
    case "hostname": sethostname(step.name); break;
    case "domainname": setdomainname(step.name); break;
    case "sysctl": writeText(`/proc/sys${cleanPath(step.key.includes("/") && !step.key.includes(".") ? step.key : step.key.split(".").join("/"))}`, step.value); break;
    default: return false;
  }
  return true;
}

/** Puts the three streams in place; a terminal becomes the session's own. */
export function takeStdio(stdin: Fd, stdout: Fd, stderr: Fd, terminal: boolean): void {
  dup2(stdin, 0);
  dup2(stdout, 1);
  dup2(stderr, 2);
  if (terminal) setControllingTerminal(0);
}

/** Gives the streams to the user, so that it may open /proc/self/fd/1 again. /dev/null stays root's. */
function chownStdio(uid: number): void {
  if (uid === 0) return;
  for (const n of [0, 1, 2]) sys(NR.fchown, n, uid, -1); // EPERM, EROFS: the stream is not ours to give
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
    mkdirs(cleanPath(cwd));
    chdir(cwd);
  }
}

/** The home directory of a uid in the container's /etc/passwd; "/" when it has none. */
function homeOf(uid: number): string {
  try {
    for (const line of lines(readTextIf("/etc/passwd") ?? "")) {
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

const X_OK = 1;
const AT_EACCESS = 0x200;

/** The program's path: args[0] if it has a slash, else the first match in the environment's PATH. Throws a text hosts know. */
export function findProgram(plan: ProcessPlan, env: readonly string[]): string {
  const name = plan.args[0] as string;
  const path = env.find((e) => e.startsWith("PATH="))?.slice(5) ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const candidates = name.includes("/") ? [name] : path.split(":").map((dir) => `${dir || "."}/${name}`);
  let denied = false;
  for (const candidate of candidates) {
    if (!exists(candidate) || (stat(candidate).mode & S.IFMT) === S.IFDIR) continue;
    if (sys(NR.faccessat2, AT_FDCWD, candidate, X_OK, AT_EACCESS) === 0) return candidate;
    denied = true;
  }
  if (denied) throw new AppError("internal", `exec "${name}": permission denied`);
  throw new AppError("internal", `the file ${name} was not found: ${name.includes("/") ? "no such file or directory" : "executable file not found in $PATH"}`);
}

function dropIdentity(plan: ProcessPlan): void {
  const { bounding, permitted, effective, inheritable, ambient } = plan.caps;
  for (let cap = 0; cap <= LAST_CAP; cap++) {
    if (!hasCap(bounding, cap) && dropBounding(cap) === -E.EPERM) throw new AppError("internal", "may not drop capabilities from the bounding set");
  }
  setKeepCaps(true);
  setgroups(plan.gids);
  setresgid(plan.gid);
  setresuid(plan.uid);
  setKeepCaps(false);
  capset(effective, permitted, inheritable);
  clearAmbient();
  for (let cap = 0; cap <= LAST_CAP; cap++) if (hasCap(ambient, cap)) raiseAmbient(cap); // needs permitted and inheritable; refused is no error
}

/**
 * Becomes what the plan says. `loadFilter` installs the seccomp program: before the rights go when no_new_privs is not asked
 * for (it needs CAP_SYS_ADMIN then), else by the caller at the very end.
 */
export function becomeUser(plan: ProcessPlan, loadFilter: (() => void) | undefined): void {
  umask(plan.umask);
  chownStdio(plan.uid);
  let entered = true;
  try {
    enterCwd(plan.cwd);
  } catch (error) {
    if (!isErrno(error, E.EACCES, E.EPERM)) throw error;
    entered = false; // the user may be allowed where root is not (a network file system)
  }
  if (!plan.noNewPrivileges) loadFilter?.();
  dropIdentity(plan);
  if (!entered) chdir(plan.cwd);
  checkCwd();
  if (plan.noNewPrivileges) setNoNewPrivs();
}
