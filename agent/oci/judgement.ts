// Who asks decides what is right: a host of the agent or the caller of a command line. Each difference is a field of one record, and nothing else
// in oci/ or engine/ asks who it is. docs/oci.md has the same table, which test/unit/oci/judgement.test.ts holds against this one.

export interface Judgement {
  /** Names of capabilities that nobody knows. The runtime specification wants a warning; the agent's hosts are told. */
  readonly unknownCapabilities: "warn" | "refuse";
  /** Capabilities that the engine has not got itself. */
  readonly missingCapabilities: "warn" | "refuse";
  /** AppArmor profiles and SELinux labels on a kernel without the module. */
  readonly missingModules: "warn" | "refuse";
  /** Entries of an environment that are no variables. */
  readonly badVariables: "refuse" | "ignore";
  /** Annotations without a name. */
  readonly namelessAnnotations: "refuse" | "ignore";
  /** net.* sysctls in a network namespace that is not the container's own. */
  readonly networkSysctls: "refuse" | "allow";
  /** Limits that a version of control groups cannot hold; where the group is; who may make none. */
  readonly cgroups: "strict" | "lenient";
  /** A host name for a uts namespace that is there already. */
  readonly sharedUts: "name" | "keep";
  /** The processors of who calls: undone, or the container's too. */
  readonly callersProcessors: "undo" | "keep";
  /** The groups of who calls, where an annotation asks for them. */
  readonly callersGroups: "honour" | "ignore";
  /** Destinations of mounts that begin with the root's own path. */
  readonly destinations: "within root" | "as given";
  /** With any flag in its options, a bind has those and no others of its source's, as runc has it; or keeps what no option speaks of. */
  readonly bindFlags: "exact" | "kept";
  /** How long hooks may take that say nothing of it, and the birth of a container as a whole. */
  readonly patience: "endless" | "bounded";
  /** The environment of hooks that name none. */
  readonly hookEnvironment: "caller's" | "empty";
  /** The status that prestart hooks are told. */
  readonly prestartStatus: "created" | "creating";
  /** A poststart hook that fails. */
  readonly poststartFailure: "ends" | "logged";
  /** A program that cannot be executed is told in words or by the call's name. */
  readonly programErrors: "words" | "call";
  /** The engine's own file is kept from the program by a stub as the last step. */
  readonly stub: "always" | "where others are";
  /** The oom score of a process: born with it (who is not root may not set it later), or set by its child. */
  readonly score: "born" | "set";
}

/** The agent for its host. */
export const AGENT: Judgement = Object.freeze<Judgement>({
  unknownCapabilities: "refuse", missingCapabilities: "refuse", missingModules: "refuse", badVariables: "ignore", namelessAnnotations: "ignore", networkSysctls: "allow", cgroups: "lenient",
  sharedUts: "keep", callersProcessors: "keep", callersGroups: "ignore", destinations: "as given", bindFlags: "kept", patience: "bounded", hookEnvironment: "empty", prestartStatus: "creating",
  poststartFailure: "logged", programErrors: "call", stub: "where others are", score: "set",
});

/** An OCI runtime for who calls it. */
export const COMMAND_LINE: Judgement = Object.freeze<Judgement>({
  unknownCapabilities: "warn", missingCapabilities: "warn", missingModules: "warn", badVariables: "refuse", namelessAnnotations: "refuse", networkSysctls: "refuse", cgroups: "strict",
  sharedUts: "name", callersProcessors: "undo", callersGroups: "honour", destinations: "within root", bindFlags: "exact", patience: "endless", hookEnvironment: "caller's", prestartStatus: "created",
  poststartFailure: "ends", programErrors: "words", stub: "always", score: "born",
});
