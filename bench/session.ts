// Owns what the native measurements share: the options, one driver, one bundle, the agent that is measured, and what has been found.
// A measurement that fails is told about and does not stop the others.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HOME_ID, type Bundle } from "./bundle.js";
import type { Runtime } from "./command-lines.js";
import type { Driver } from "./driver.js";
import type { Group, Key, Results } from "./keys.js";
import type { Tools } from "./native-tools.js";
import { median, rounded } from "./stats.js";

export interface NativeOptions {
  readonly agent: string;
  readonly tools: Tools;
  readonly groups: ReadonlySet<Group>;
  /** Samples of each kind; at least 50 for published numbers. */
  readonly rounds: number;
  /** Paths of the command lines: ours and those of the peers that are installed. */
  readonly runtimes: Readonly<Partial<Record<Runtime, string>>>;
  /** Told what is being done now. */
  readonly progress: (text: string) => void;
  /** Told about a measurement that failed; the others go on. */
  readonly failed: (keys: readonly Key[], why: string) => void;
  /** Run this before anything is measured against the agent (tests stand in a fake agent here). */
  readonly agentArgs?: readonly string[];
}

/** One run of the bench: its driver, its bundle, what it has found. */
export class Session {
  readonly results: Results = {};
  #ids = 0;

  constructor(readonly o: NativeOptions, readonly driver: Driver, readonly bundle: Bundle) {}

  path = (name: string): string => join(this.bundle.folder, name);
  id = (): string => `b${String(this.#ids++).padStart(7, "0")}`;

  agentCommand(socket: string): string[] {
    const config = this.path("agent.toml");
    writeFileSync(config, `server_addr = "unix://${socket}"\n`);
    return [this.o.agent, ...(this.o.agentArgs ?? ["--config", config])];
  }

  /** Starts an agent with a sandbox and connects to it; gives its process id. */
  async startAgent(): Promise<number> {
    const socket = this.path("agent.sock");
    rmSync(socket, { force: true });
    const pid = await this.driver.one("spawn", this.path("agent.log"), ...this.agentCommand(socket));
    await this.driver.do("connect", "agent", socket, 10);
    await this.driver.do("sequence", "agent", HOME_ID, "check", "sandbox");
    return pid;
  }

  async endAgent(pid: number): Promise<void> {
    await this.driver.do("disconnect", "agent");
    await this.driver.do("end", pid);
  }

  /** Runs `work` for some keys; its failure is told and does not stop the others. */
  async guard(keys: readonly Key[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.o.failed(keys, `${error instanceof Error ? error.message : String(error)}${this.#log()}`);
    }
  }

  #log(): string {
    const file = this.path("agent.log");
    const text = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    return text === "" ? "" : `; the agent said: ${text.slice(-400)}`;
  }
}

/** The median of nanoseconds, in milliseconds. */
export const ms = (ns: readonly number[]): number => rounded(median(ns) / 1e6, 3);
