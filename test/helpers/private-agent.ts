// The real binary in mount and network namespaces of its own, with an empty /run: whatever it mounts and configures is gone
// with it. `inside` runs a shell command where the agent is. Ends only the process that it started.
import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { AgentClient } from "../../ctl/client/agent-client.js";
import { connectAgent } from "../../ctl/client/connect.js";
import { UnencodableRequest } from "../../ctl/client/rpc-error.js";
import { distFile } from "../../tools/places.js";

/** The binary as shipped, or the one to be tested instead. */
export const BINARY = resolve(process.env["KATA_AGENT"] ?? distFile("kata-agent"));

/** Why such a test cannot run here; undefined when it can. */
export const whyNot = (): string | undefined => {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync(BINARY)) return `needs ${BINARY} (make agent)`;
  try {
    execFileSync("unshare", ["-m", "-n", "true"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "this machine gives no new mount and network namespaces";
  }
};

export interface PrivateAgent {
  readonly client: AgentClient;
  readonly dir: string;
  readonly pid: number;
  /** Runs a shell command in the agent's namespaces; its output, trimmed. Throws with its errors. */
  inside(script: string): string;
  log(): string;
  stop(): Promise<void>;
}

/** Its twin with ASAN and UBSAN; there only after `make debug`. */
export const SANITISED = `${BINARY}.debug`;

/**
 * Starts an agent; `settings` are further lines of its configuration file, `before` runs in its namespaces first. `apart`: a terminal's
 * interrupt is not for it, the caller sees to its end.
 */
export const startPrivateAgent = async (settings = "", before = ":", binary = BINARY, apart = false): Promise<PrivateAgent> => {
  const dir = mkdtempSync(join(tmpdir(), "kata-private-"));
  const socket = join(dir, "a.sock");
  const config = join(dir, "agent.toml");
  writeFileSync(config, `server_addr = "unix://${socket}"\n${settings}\n`);
  const script = `mount -t tmpfs tmpfs /run && ${before} && exec "$0" --config "$1"`;
  const child: ChildProcess = spawn("unshare", ["-m", "-n", "sh", "-ec", script, binary, config], { stdio: ["ignore", "pipe", "pipe"], detached: apart });
  let text = "";
  child.stdout?.on("data", (d) => (text += String(d)));
  child.stderr?.on("data", (d) => (text += String(d)));
  const gone = once(child, "exit");
  const pid = child.pid as number;
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await gone;
    }
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const client = await connectAgent(`unix://${socket}`, { waitMs: 120_000 });
    return {
      client, dir, pid, stop, log: () => text,
      inside: (command) => execFileSync("nsenter", ["-t", String(pid), "-m", "-n", "sh", "-ec", command], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim(),
    };
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${text}`);
  }
};

/** The error's text, for a call that must fail. Rejects when the request never reached the agent because it is none. */
export const failure = async (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "(no error)",
    (error: unknown) => {
      if (error instanceof UnencodableRequest) throw error;
      return error instanceof Error ? error.message : String(error);
    },
  );
