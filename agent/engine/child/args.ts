// What a child is given by its parent, and what it has made on its way.
import type { Fd } from "../../sys/fd.js";
import type { Judgement } from "../../oci/judgement.js";
import type { ProcessPlan } from "../../oci/plan.js";
import type { Hook } from "../../oci/spec.js";
import type { LimitStep, Step } from "../../oci/steps.js";
import type { Label } from "../confine/labels.js";
import type { Filter } from "../container.js";
import type { ChildEnd } from "../handshake.js";
import type { Subject } from "../hooks.js";

/** The child's ends of the pipes; absent when it gets a terminal. */
export interface Ends { readonly stdin: Fd; readonly stdout: Fd; readonly stderr: Fd }

export interface ChildArgs {
  /** The phases of the plan (oci/plan.ts); a further process builds nothing. */
  readonly arrive: readonly Step[];
  readonly build: readonly Step[];
  readonly limits: readonly LimitStep[];
  readonly process: ProcessPlan;
  readonly channel: ChildEnd;
  readonly ends: Ends | undefined;
  readonly filter: Filter | undefined;
  /** The container whose session keyring the process is to have; undefined: the caller's. */
  readonly keyring: string | undefined;
  readonly labels: readonly Label[];
  /** What hooks that run in here are told, and those that run right before the program. */
  readonly hooks: (Subject & { readonly start: readonly Hook[]; readonly judgement: Judgement }) | undefined;
  /** Descriptors of the caller that the process is to have. */
  readonly keep: readonly number[];
  /** A listening socket: whoever connects to it says `start`, when the parent has left. */
  readonly startSocket?: Fd | undefined;
  /** The engine's own file must not be within the program's reach: see exec-stub.ts. */
  readonly stub: boolean;
  /** Wait for "go" before anything is built: the parent has something to do first. */
  readonly held: boolean;
  /** A new user namespace, whose maps are there at "go": become its root. */
  readonly newUser: boolean;
  /** A pid namespace where others are already, which the process is to be in: see last-steps.ts. A namespace's descriptor, or a pidfd. */
  readonly inside: Fd | undefined;
}

/** What the child has made on its way. */
export interface Terminal { readonly master: Fd; readonly slave: Fd }
