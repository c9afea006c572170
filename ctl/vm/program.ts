// Programs beside us (QEMU and the daemons of its devices): started so that they end with us even when we are killed, their
// words kept in a log file. It owns no knowledge of any of them.
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, watch } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { atEnd } from "../lifetime.js";

/** Path of a program, by PATH and then the given places; undefined when it is not installed. */
export const findProgram = (name: string, ...places: string[]): string | undefined => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...places];
  return folders.map((folder) => join(folder || ".", name)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
};

export interface ProgramEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly process: ChildProcess;
  readonly log: string;
  readonly ended: Promise<ProgramEnd>;
  /** True until it has ended. */
  running(): boolean;
  /** End it with SIGTERM, after a second with SIGKILL; resolves when it is gone. */
  stop(): Promise<void>;
  /** End it at once; resolves when it is gone. */
  kill(): Promise<void>;
}

const GRACE_MS = 1_000;

export interface ProgramOptions {
  /** File that takes what it says; stdout too, unless `stdout` is "pipe". */
  log: string;
  stdout?: "log" | "pipe";
  env?: NodeJS.ProcessEnv;
}

/**
 * Start a program in a session of its own, so that a Ctrl-C at the terminal is ours to handle, with SIGKILL as its lot
 * when we die first. Throws Error when it cannot be started.
 */
export const startProgram = async (file: string, args: string[], options: ProgramOptions): Promise<Program> => {
  const leash = findProgram("setpriv", "/usr/bin");
  const [command, all] = leash === undefined ? [file, args] : [leash, ["--pdeathsig", "KILL", "--", file, ...args]];
  const log = openSync(options.log, "a", 0o600);
  const child = spawn(command, all, { detached: true, stdio: ["ignore", options.stdout === "pipe" ? "pipe" : log, log], env: options.env ?? process.env });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(new Error(`cannot start ${file}: ${error.message}`)));
  });
  // Without setpriv(1) this is all there is.
  const forget = atEnd(() => child.kill("SIGKILL"));
  const ended = new Promise<ProgramEnd>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  void ended.then(forget);
  const running = (): boolean => child.exitCode === null && child.signalCode === null;
  const kill = async (): Promise<void> => {
    if (running()) child.kill("SIGKILL");
    await ended;
  };
  const stop = async (): Promise<void> => {
    if (!running()) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    await ended;
    clearTimeout(timer);
  };
  return { name: basename(file), pid: child.pid ?? 0, process: child, log: options.log, ended, running, stop, kill };
};

/** Last lines of a text file, for error messages; "" when there is none. */
export const lastLines = (file: string, count: number): string => {
  try {
    return readFileSync(file, "utf8").trimEnd().split("\n").slice(-count).join("\n");
  } catch {
    return "";
  }
};

/** Wait until `file` appears. Rejects when the program ends first or after `limitMs`, with the program's last words. */
export const waitForFile = (file: string, program: Program, limitMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const watcher = watch(dirname(file), () => look());
    const done = (why?: string): void => {
      watcher.close();
      clearTimeout(timer);
      if (why === undefined) resolve();
      else reject(new Error(`${program.name} ${why}: ${lastLines(program.log, 3) || "it said nothing"}`));
    };
    const look = (): void => {
      if (existsSync(file)) done();
    };
    const timer = setTimeout(() => done(`did not open ${file} within ${limitMs} ms`), limitMs);
    void program.ended.then(() => done("ended at its start"));
    look();
  });
