// What a run has found, as a table and as docs/faults.md. Pure.
import { nameOf } from "./cases.js";
import type { Class, Result } from "./subject.js";

const rowOf = ({ one }: Result): string => `${one.call}${one.children ? ", children too" : ""}${one.on ? ", from then on" : ""}${one.end ? ", at the end" : ""}`;

/** By system call: how many runs, and how they ended. */
export const table = (results: readonly Result[]): string => {
  const seen = results.filter(({ ended }) => ended !== "unseen");
  const rows = [...new Set(seen.map(rowOf))].sort().map((row) => {
    const own = seen.filter((result) => rowOf(result) === row);
    const n = (kind: Class): number => own.filter(({ ended }) => ended === kind).length;
    return `| ${row} | ${own.length} | ${n("handled")} | ${n("died")} | ${n("hung")} | ${n("leaked")} | ${n("broken")} |`;
  });
  return ["| system call | runs | handled | died | hung | leaked | next life failed |", "|---|---|---|---|---|---|---|", ...rows].join("\n");
};

/** The page. */
export const docs = (results: readonly Result[]): string => {
  const seen = results.filter(({ ended }) => ended !== "unseen");
  const bad = seen.filter(({ ended }) => ended !== "handled");
  return `# Injected faults

\`make faults\` runs a pod's life by script against the real agent, and lets one system call fail each time: \`strace -e
inject=CALL:error=ERRNO:when=N\`, of the agent alone or of its children too (each counts for itself). The life: a sandbox with DNS and
storages (tmpfs with a group, folder, bind); the guest's calls and its network (link, routes, neighbours); CopyFile; a container with an
overlay, a watched folder, a filter and limits; streams, processes with and without a terminal, a client that leaves while everything that
can wait waits for it; statistics, update, pause; a second container in the first one's pid namespace and a process in it; signals,
removal, a further connection, the sandbox made anew. A second script ends a sandbox that is at work (DestroySandbox).

A run holds when every call is answered, the agent lives, descriptors, mounts, control groups, children and folders are what they were, and
the next life, without a fault, succeeds on the same agent. After \`when=N+\` ("from then on": what has run out and stays so) the agent lives,
and when there is enough again everything is what it was. At the end of a sandbox the call is answered, at the latest the second one with
OK, the agent ends, and nothing is left.

\`make faults ONLY=openat:17:EMFILE\` replays one case (\`17+\`: from then on; \`:f\`: with children; \`:end\`: at the end of the sandbox), \`FULL=1\`
runs all with every errno, else each number has one of them, and a call that is made more than 60 times is taken at 60 of its numbers;
\`MINUTES=n\` bounds it, \`PART=1/2\` takes every second one, \`SKIP=n\` leaves out the first. \`close\`, memory that is given back, and calls
that cannot fail are left out. Numbers move a little from run to run: a fault that nobody met is not counted.

The last run: ${seen.length} faults, ${seen.length - bad.length} handled.
${bad.length === 0 ? "" : `\nNot handled: ${bad.map(({ one, ended }) => `\`${nameOf(one)}\` (${ended})`).join(", ")}.\n`}
${table(results)}
`;
};
