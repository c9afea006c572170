// What a process of a configuration must be, whether the first or a further one. Pure. (runtime-spec, process; container-engine 1.2)
import { lazy } from "../lib/lazy.js";
import { capNumber } from "./caps.js";
import { inRange, noNul, noNuls, refuse } from "./field.js";
import type { Capabilities, Process, User } from "./spec.js";
import { AGENT, type Judgement } from "./judgement.js";

const schedule = lazy<typeof import("./schedule.js")>("oci/schedule.js");

const RLIMITS = ["CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"];
/** 2^32-1 is no id: to the kernel's calls it means "leave it". */
const MOST_ID = 4294967294;

/** RLIMIT_NOFILE as the kernel numbers it; -1 for an unknown name. */
export function rlimitNumber(type: string): number {
  return type.startsWith("RLIMIT_") ? RLIMITS.indexOf(type.slice(7)) : -1;
}

function checkUser(field: string, { uid, gid, umask, additionalGids = [] }: User): void {
  inRange(`${field}.uid`, uid, 0, MOST_ID);
  inRange(`${field}.gid`, gid, 0, MOST_ID);
  inRange(`${field}.umask`, umask, 0, 0o777);
  for (let i = 0; i < additionalGids.length; i++) inRange(`${field}.additionalGids[${i}]`, additionalGids[i], 0, MOST_ID);
}

/** A text of the environment that is no NAME=value; hosts of the agent may send such, command lines may not. */
function checkEnv(field: string, env: readonly string[] = []): void {
  for (let i = 0; i < env.length; i++) {
    const at = (env[i] as string).indexOf("=");
    if (at <= 0) refuse(`${field}[${i}]`, `"${(env[i] as string).slice(0, 80)}" ${at < 0 ? "has no =" : "has no name"}`);
  }
}

/** Names that nobody knows: the agent's hosts are told (agent-api 11.5), a command line leaves them out with a warning, as the specification wants. */
function checkCapabilities(field: string, caps: Capabilities | undefined): void {
  for (const set in caps) {
    const names = caps[set as keyof Capabilities] ?? [];
    for (let i = 0; i < names.length; i++) if (capNumber(names[i] as string) < 0) refuse(`${field}.${set}[${i}]`, `unknown capability "${names[i]}"`);
  }
}

/** The process of a configuration that has none: the container can be created and started, and ends at once. */
export const NO_PROCESS: Process = { args: [], cwd: "/", user: { uid: 0, gid: 0 } };

/** Checks a process; `field` is its place, for instance "process". */
export function checkProcess(process: Process, field = "process", judgement: Judgement = AGENT): void {
  if (process === NO_PROCESS) return;
  if (process.args.length === 0 || process.args[0] === "") refuse(`${field}.args`, "is empty");
  noNuls(`${field}.args`, process.args);
  if (!process.cwd.startsWith("/")) refuse(`${field}.cwd`, `"${process.cwd}" is not an absolute path`);
  noNul(`${field}.cwd`, process.cwd);
  noNuls(`${field}.env`, process.env);
  if (judgement.badVariables === "refuse") checkEnv(`${field}.env`, process.env);
  if (judgement.unknownCapabilities === "refuse") checkCapabilities(`${field}.capabilities`, process.capabilities);
  checkUser(`${field}.user`, process.user);
  const seen: string[] = [];
  process.rlimits?.forEach(({ type, hard, soft }, i) => {
    if (rlimitNumber(type) < 0) refuse(`${field}.rlimits[${i}].type`, `unknown limit "${type}"`);
    if (seen.includes(type)) refuse(`${field}.rlimits[${i}].type`, `${type} is given twice`);
    if (soft > hard) refuse(`${field}.rlimits[${i}].soft`, `${soft} is above the hard limit ${hard}`);
    seen.push(type);
  });
  inRange(`${field}.oomScoreAdj`, process.oomScoreAdj, -1000, 1000);
  noNul(`${field}.apparmorProfile`, process.apparmorProfile);
  noNul(`${field}.selinuxLabel`, process.selinuxLabel);
  if (process.scheduler !== undefined || process.ioPriority !== undefined) schedule().traitsOf(process, {}, field);
  if (process.execCPUAffinity !== undefined) schedule().affinityOf(process.execCPUAffinity, field);
}
