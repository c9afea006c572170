// The last phase of a child's life: what is left between a root file system that stands and the program, in the order in which it is
// done. Pure: test/unit/oci/become.test.ts proves over all situations what a reader would otherwise have to believe. What a process that
// goes into a pid namespace where others are does instead is engine/child/last-steps.ts.

export type Become =
  | "controlling-terminal"
  /** Every descriptor of the engine's that is not needed any more. */
  | "close"
  | "environment" | "labels" | "unblock-signals"
  /** The stub is made, which will take the child's place (CVE-2019-5736). */
  | "stub"
  /** The ids, and the rights of the program. */
  | "user"
  /** The ids, with CAP_SYS_ADMIN besides the program's rights, to load a filter without no_new_privs; "rights" takes it away. */
  | "user-with-right" | "rights"
  /** The program's file is looked for. */
  | "program"
  | "limits" | "filter"
  | "ready"
  /** The parent leaves, and whoever connects goes on. */
  | "start-socket" | "wait-start"
  | "start-hooks" | "end-without-program" | "execute";

export interface Situation {
  /** The first process of a container, which waits to be started. */
  readonly first: boolean;
  readonly terminal: boolean;
  readonly startSocket: boolean;
  readonly labels: boolean;
  readonly startHooks: boolean;
  readonly noNewPrivileges: boolean;
  /** "asks": its listener is handed on while the parent is there. */
  readonly filter: "none" | "plain" | "asks";
  /** No stub; one that comes after the filter; one that loads the filter itself. */
  readonly stub: "none" | "after filter" | "loads filter";
}

/**
 * The steps, each at most once. The limits and the filter may forbid whatever is not the program's, so as little as possible comes after
 * them, and the stub is made before: it needs memory and descriptors.
 */
export function becomeSteps({ first, terminal, startSocket, labels, startHooks, noNewPrivileges, filter, stub }: Situation): readonly Become[] {
  const steps: Become[] = [];
  const add = (...more: Become[]): void => {
    for (const step of more) if (!steps.includes(step)) steps.push(step);
  };
  const makeStub = (): void => {
    if (stub !== "none") add("stub");
  };
  const confine = (): void => {
    makeStub();
    add("limits");
    if (filter !== "none") add("filter");
  };
  if (terminal) add("controlling-terminal");
  add("close", "environment");
  if (labels) add("labels");
  add("unblock-signals");
  if (filter !== "none" && !noNewPrivileges) {
    makeStub(); // with the rights that it may need
    add("user-with-right", "program");
    confine();
    add("rights");
  } else {
    add("user", "program");
    if (filter === "asks") confine();
  }
  if (first || terminal) {
    add("ready");
    makeStub(); // while the parent writes down that it is ready
    if (startSocket) add("start-socket");
    add("wait-start");
  }
  if (startHooks) {
    confine(); // they are the container's, and held like its program
    add("start-hooks");
  }
  add("end-without-program");
  if (stub === "loads filter") {
    makeStub();
    add("limits");
  } else confine();
  add("execute");
  return steps;
}
