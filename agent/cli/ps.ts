// ps: a container's processes, as numbers or as lines of the machine's own ps(1), which is asked for all and sifted by pid.
import { SEEK } from "../abi/flags.js";
import { callerEnv } from "../sys/arguments.js";
import { sys } from "../sys/call.js";
import { exists, memfdCreate } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError } from "../lib/errors.js";
import { fork, runProgram } from "../lib/fork.js";
import { readFd } from "../lib/fs.js";
import { exitOf } from "../lib/reaper.js";
import { lines, words } from "../lib/text.js";
import { type Command, type Context, FORMAT, idOf, invalid, print } from "./context.js";
import { known, revive } from "./load.js";
import type { Options } from "./options.js";

const MAX_TABLE = 64 << 20;

/** Where the machine keeps a program, by the PATH of the caller. */
function programOf(name: string): string {
  const path = callerEnv().find((e) => e.startsWith("PATH="))?.slice(5) ?? "/usr/bin:/bin";
  return path.split(":").map((dir) => `${dir || "."}/${name}`).find((file) => exists(file)) ?? invalid(`${name}: executable file not found in $PATH`);
}

/** What ps prints; its complaints go where the caller's do. */
async function machineTable(args: readonly string[]): Promise<string> {
  const program = programOf("ps");
  using output = memfdCreate("ps");
  const pid = fork();
  if (pid === 0) runProgram({ path: program, argv: ["ps", ...args], env: callerEnv(), stdout: output });
  const status = await exitOf(pid);
  if (status !== 0) throw new AppError("internal", `ps ${args.join(" ")}: exit status ${status}`);
  sys(NR.lseek, output.n, 0, SEEK.SET);
  return native.utf8Decode(readFd(output, "ps", MAX_TABLE)) ?? "";
}

/** The title and the lines whose pid is one of these. Throws "invalid" when ps was asked for a table without a PID column. */
export function sift(table: string, pids: readonly number[]): string {
  const [title = "", ...rows] = lines(table);
  const column = words(title).indexOf("PID");
  if (column < 0) invalid("couldn't find PID field in ps output");
  const wanted = new Set(pids.map(String));
  return [title, ...rows.filter((row) => wanted.has(words(row)[column] ?? ""))].map((row) => `${row}\n`).join("");
}

async function ps(context: Context, options: Options, rest: readonly string[]): Promise<number> {
  const format = options.get("format") ?? "table";
  if (format !== "table" && format !== "json") invalid(`--format: "${format}" is not table or json`);
  const it = known(context, idOf(options), false);
  const pids = it.status === "stopped" && !it.saved.sharedPid ? [] : revive(it).cgroup.pids().sort((a, b) => a - b);
  if (format === "json") print(1, `${JSON.stringify(pids)}\n`);
  else print(1, sift(await machineTable(rest.length === 0 ? ["-ef"] : rest), pids));
  return 0;
}

export const commands = {
  ps: { about: "list a container's processes", usage: "ID [PS-OPTION...]", least: 1, most: 1000, stopAt: 1, options: { format: FORMAT }, run: ps },
} as const satisfies { readonly [name: string]: Command };
