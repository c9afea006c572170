// A command that goes on in the background: the same program with the same words but --detach, in a session of its own. A message says
// that it is up; until then it is ours to end, and its errors are ours to show.
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { atEnd } from "../lifetime.js";

const READY = "ready ";

/** Tells whoever has detached this process that it is up, with the line that is printed then. Nothing happens in the foreground. */
export const isUp = (line: string): void => {
  process.send?.(READY + line);
  if (process.connected === true) process.disconnect();
};

/** The words without those that say "in the background": -d may be one of several letters. */
export const foreground = (words: readonly string[]): string[] => {
  const at = words.indexOf("--");
  const [own, rest] = at < 0 ? [words, []] : [words.slice(0, at), words.slice(at)];
  const first = own.findIndex((word) => word === "--detach" || /^-[a-zA-Z]*d[a-zA-Z]*$/.test(word));
  return [...own.flatMap((word, i) => (i !== first ? [word] : word === "--detach" || word === "-d" ? [] : [word.replace("d", "")])), ...rest];
};

/**
 * Starts it as `name`, with what it writes in the file `output`, or nowhere; resolves with the exit status for this process when it is up
 * or has failed. Its line is printed.
 */
export const detach = (name: string, output?: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const words = foreground(process.argv.slice(2));
    const [command, ...rest] = words;
    const file = output === undefined ? undefined : openSync(output, "w", 0o600);
    const named = words.some((word) => word === "--name" || word.startsWith("--name="));
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? "", command ?? "", ...(named ? [] : ["--name", name]), ...rest], {
      // Our own stderr must not live on in the child: whoever reads it would wait for its end as long as it runs.
      detached: true, stdio: ["ignore", file ?? "ignore", file ?? "pipe", "ipc"],
    });
    if (file !== undefined) closeSync(file);
    const forget = atEnd(() => child.kill("SIGTERM"));
    child.stderr?.pipe(process.stderr, { end: false });
    child.once("error", reject);
    child.once("close", (code) => {
      if (output !== undefined) {
        process.stderr.write(readFileSync(output));
        rmSync(output, { force: true });
      }
      resolve(code ?? 1);
    });
    child.once("message", (message) => {
      forget();
      process.stdout.write(`${String(message).slice(READY.length)}\n`);
      child.removeAllListeners("close");
      child.stderr?.destroy();
      if (child.connected) child.disconnect();
      child.unref();
      resolve(0);
    });
  });
