// Owns running other programs: with a line that can be replayed by hand, a stop signal, and an error that shows the end of what
// the program said. Must never go through a shell.
import { execa } from "execa";
import { BuildError } from "./errors.js";

export interface RunOptions {
  readonly cwd?: string;
  /** Added to the environment; LC_ALL=C is always set, so that output and sort order do not depend on the machine. */
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the program (SIGTERM, SIGKILL after 5 s) when it fires. */
  readonly signal?: AbortSignal;
  /** Called for each line of standard output and error while the program runs. */
  readonly onLine?: (line: string) => void;
  readonly input?: string;
  /** Which Debian package brings the program; named when it is missing. */
  readonly package?: string;
  /** Exit codes that are not a failure; 0 by default. */
  readonly okCodes?: readonly number[];
}

/** The command as one could type it, for messages. */
export function commandLine(program: string, args: readonly string[]): string {
  return [program, ...args].map((a) => (/^[\w@%+=:,./^-]+$/.test(a) ? a : `'${a.replaceAll("'", `'\\''`)}'`)).join(" ");
}

/**
 * Runs a program to its end and returns its standard output. Throws BuildError "missing" when there is no such program,
 * "interrupted" when the signal fired, "failed" with the last lines of its output otherwise.
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const tail: string[] = [];
  const note = (line: string): void => {
    tail.push(line);
    if (tail.length > 20) tail.shift();
    options.onLine?.(line);
  };
  const child = execa(program, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.input === undefined ? { stdin: "ignore" as const } : { input: options.input }),
    env: { LC_ALL: "C", ...options.env },
    buffer: { stdout: options.onLine === undefined, stderr: false },
    forceKillAfterDelay: 5000,
    reject: false,
  });
  const reading = [lines(child, "stderr", note)];
  if (options.onLine !== undefined) reading.push(lines(child, "stdout", note));
  const result = await child;
  await Promise.allSettled(reading);
  if (options.signal?.aborted === true) throw new BuildError("interrupted", "interrupted");
  if (result.code === "ENOENT") {
    throw new BuildError("missing", `${program} is not installed`, options.package === undefined ? "" : `apt-get install ${options.package}`);
  }
  if (result.exitCode === undefined || !(options.okCodes ?? [0]).includes(result.exitCode)) {
    const said = tail.length > 0 ? tail : String(result.stdout ?? "").split("\n").slice(-20);
    const how = result.signal === undefined ? `exit code ${result.exitCode ?? "unknown"}` : `ended by ${result.signal}`;
    throw new BuildError("failed", `${program} failed (${how}): ${said.filter((l) => l !== "").slice(-8).join("\n  ")}`,
      `to see it alone: ${options.cwd === undefined ? "" : `cd ${options.cwd} && `}${commandLine(program, args)}`);
  }
  return typeof result.stdout === "string" ? result.stdout : "";
}

interface Speaking {
  iterable(options: { readonly from: "stdout" | "stderr" }): AsyncIterable<unknown>;
}

async function lines(child: Speaking, from: "stdout" | "stderr", note: (line: string) => void): Promise<void> {
  for await (const line of child.iterable({ from })) note(String(line));
}
