// Debug builds: on SIGUSR2 the agent lets its own program take its place (execve(2)) and goes on with the same containers, connections
// and calls. First what is being done is done, for at most two seconds, while requests that come wait in their connections; then the
// record is written to a memory file, whose number is in the environment. Until execve(2) has succeeded nothing has been changed that is
// not taken back; after it a program that cannot take the record up says so and ends.
import { callerArgs, callerEnv } from "../sys/arguments.js";
import { SysError } from "../sys/call.js";
import { Fd, fdPath } from "../sys/fd.js";
import { memfdCreate, writeAll } from "../sys/file.js";
import { descriptorLimitWas, execve, firstDescriptorLimit } from "../sys/process.js";
import { fromOthers } from "../sys/utf8.js";
import { AppError, attempt, because, messageOf } from "../lib/errors.js";
import { readText } from "../lib/fs.js";
import { fromRecord, Kept, Left, toRecord } from "../lib/kept.js";
import { Level, log } from "../lib/log.js";
import { after, whenAtRest } from "../lib/loop.js";
import { reap } from "../lib/reaper.js";
import { atWork, connectionsOf, goOn, hold, restoreConnections, saveServer, type ServerRecord } from "../rpc/record.js";
import type { Server } from "../rpc/server.js";
import { checkVersion, restore, type SandboxRecord, save, unfinished } from "../sandbox/record.js";
import type { Sandbox } from "../sandbox/sandbox.js";
import type { Config } from "./config.js";

const VARIABLE = "KATA_AGENT_RECORD";
const PROGRAM = "/proc/self/exe";
const PATIENCE_MS = 2000;
const LARGEST_RECORD = 256 << 20;

/** What the agent is made of. */
export interface Agent {
  readonly config: Config;
  readonly server: Server;
  readonly sandbox: Sandbox;
  /** It has been told to end. */
  readonly ending: () => boolean;
}

/** `sandbox` comes first: it has the version that tells whether the rest can be understood. */
export interface AgentRecord {
  readonly sandbox: SandboxRecord;
  readonly server: ServerRecord;
  readonly config: Config;
  readonly descriptorLimit: Uint8Array | null;
  readonly descriptors: readonly number[];
}

let atIt = false;

/** Begins a handover, unless one is under way. The answer is a line in the log. */
export function begin(agent: Agent): void {
  if (atIt) return;
  atIt = true;
  log(Level.INFO, "handover: asked for");
  hold(agent.server, true);
  let why: string | undefined;
  const end = (error?: unknown): void => {
    atIt = false;
    whenAtRest(undefined);
    patience.cancel();
    log(Level.WARN, `handover: given up, the agent goes on as before: ${messageOf(error)}`);
    hold(agent.server, false);
  };
  const patience = after(PATIENCE_MS, () => end(new AppError("deadline", `${why ?? "work"} for more than ${PATIENCE_MS} ms`)));
  whenAtRest(() => {
    why = agent.ending() ? "the agent ends" : atWork(agent.server) ?? unfinished(agent.sandbox);
    if (why !== undefined) return;
    try {
      handOver(agent);
    } catch (error) {
      end(error);
    }
  });
}

function recordOf({ config, server, sandbox }: Agent, kept: Kept): AgentRecord {
  const claimants = connectionsOf(server);
  const parts = { sandbox: save(sandbox, kept, claimants), server: saveServer(server, kept) };
  return { ...parts, config, descriptorLimit: firstDescriptorLimit() ?? null, descriptors: [...kept.numbers] };
}

/** Comes back only with the reason why it could not be done: everything is as it was then. */
function handOver(agent: Agent): void {
  const kept = new Kept();
  const record = recordOf(agent, kept);
  using file = memfdCreate("record");
  writeAll(file, toRecord(record));
  const env = [...callerEnv().filter((entry) => !entry.startsWith(`${VARIABLE}=`)), `${VARIABLE}=${kept.keep(file)}`];
  const args = callerArgs();
  try {
    kept.stay(true);
    throw new SysError(`execve ${PROGRAM}`, -execve(PROGRAM, args, env));
  } finally {
    kept.stay(false);
  }
}

/** What the program before has left; undefined for the first one. Throws AppError when it cannot be read, or is of another version. */
export function inherited(env: readonly string[]): AgentRecord | undefined {
  const entry = env.find((one) => one.startsWith(`${VARIABLE}=`));
  if (entry === undefined) return undefined;
  return attempt("take up the record of the program before", () => {
    using file = new Fd(Number(entry.slice(VARIABLE.length + 1)));
    const record = fromRecord(fromOthers(readText(fdPath(file), LARGEST_RECORD))) as Partial<AgentRecord> | null;
    checkVersion(record?.sandbox);
    descriptorLimitWas(record?.descriptorLimit ?? undefined);
    return record as AgentRecord;
  });
}

/** Goes on where the program before has stopped, with a server and a sandbox that are new. `late`: see listen. Throws AppError. */
export function takeUp(record: AgentRecord, { server, sandbox }: Agent, late: (error: unknown) => void): void {
  try {
    const left = new Left(record.descriptors);
    const connections = restoreConnections(record.server, server, left, late);
    restore(record.sandbox, sandbox, left, connections);
    goOn(record.server, connections);
    const rest = left.done();
    if (rest.length > 0) log(Level.ERROR, `handover: nobody has taken the descriptors ${rest.join(" ")}`);
    after(0, reap); // who has ended meanwhile may have told it to the program before
    const { calls } = record.server;
    log(Level.INFO, `handover: done, with ${sandbox.entries.size} containers, ${connections.length} connections and ${calls.length} calls`);
  } catch (error) {
    throw because("take up the record of the program before", error);
  }
}
