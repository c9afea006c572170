// What an attack is, and what it is given. An attack does its worst through a Scene and says what it did in numbers; killing and
// removing its containers, looking for what is left and measuring the agent's patience are the driver's (drive.ts).
import type { Scene } from "./scene.js";

export type Where = "host" | "vm";
/** What an attack did, in numbers or words. */
export type Did = Record<string, number | string>;

export interface Attack {
  readonly name: string;
  /** What it goes for, in a few words. */
  readonly item: string;
  readonly needs: {
    /** Where it may run: what takes something of the whole kernel runs in a VM only. */
    readonly where: readonly Where[];
    /** Part of the short form in `make test`. */
    readonly quick?: boolean;
    /** Lines of the agent's configuration, and a command before it starts (natively). */
    readonly settings?: string;
    readonly before?: string;
    /** Words on the kernel's command line: a VM of its own. */
    readonly append?: readonly string[];
    /** Is a dead agent what the attack wants, in the right order (DestroySandbox)? */
    readonly ends?: boolean;
    /** Kilobytes the agent may keep in the end, for attacks that make it hold something for good; else GROWTH_KB. */
    readonly keepsKb?: number;
    /** Kilobytes the agent may have had meanwhile, for attacks on its memory. */
    readonly mostKb?: number;
    /** Milliseconds that one attacker's end and removal may take; else REMOVAL_MS. */
    readonly removalMs?: number;
  };
  run(scene: Scene): Promise<Did>;
}

/** The longest a Check may take under attack. */
export const LIMIT_MS: Readonly<Record<Where, number>> = { host: 100, vm: 500 };
/** In the short form time is not held against the agent, only standing still. */
export const HANG_MS = 5_000;
export const GROWTH_KB = 2_048;
export const REMOVAL_MS = 20_000;

export interface Patience {
  readonly checks: number;
  /** Milliseconds of the longest Check. */
  readonly longest: number;
  /** The same without the time in which the agent, or the one who asks, waited for a processor. */
  readonly net: number;
  /** When that one was asked: milliseconds from the attack's begin. */
  readonly at: number;
  /** The connection was lost. */
  readonly lost: boolean;
}

export interface Outcome {
  readonly name: string;
  readonly item: string;
  readonly where: Where;
  readonly did: Did;
  readonly patience: Patience;
  /** Milliseconds until all attackers were killed and removed. */
  readonly removalMs: number;
  readonly memory: { readonly before: number; readonly peak: number; readonly after: number };
  readonly ms: number;
  /** Why the agent did not hold; empty when it did. */
  readonly faults: readonly string[];
}
