// Limits and the oom score of children that cannot set their own. In a new user namespace a child has no right to raise them, so
// the parent does it when the child is ready; and one who is not root sets the score before there is a child. Loaded only then.
// (container-engine 1.2, rlimits and oomScoreAdj; capabilities(7), CAP_SYS_RESOURCE)
import { raiseHardLimit, setDumpable } from "../../sys/process.js";
import { attempt } from "../../lib/errors.js";
import { readText, writeText } from "../../lib/fs.js";
import { describe, type Step } from "../../oci/steps.js";

const SCORE = "/proc/self/oom_score_adj";

/**
 * Runs `fn`, which makes a child, so that the child is born with this oom score. One who is not root can write neither its own
 * score nor another's once a process is not dumpable, as children are.
 */
export function bornScored<T>(score: number, fn: () => T): T {
  const before = readText(SCORE);
  attempt(`set oom_score_adj to ${score}`, () => writeText(SCORE, String(score)));
  try {
    return fn();
  } finally {
    setDumpable(true);
    writeText(SCORE, before);
    setDumpable(false);
  }
}

/** Does them on a process. Throws what the kernel refused. */
export function limitFromOutside(pid: number, steps: readonly Step[]): void {
  for (const step of steps) {
    attempt(describe(step), () => {
      if (step.do === "oom-score") writeText(`/proc/${pid}/oom_score_adj`, String(step.value));
      else if (step.do === "rlimit") raiseHardLimit(pid, step.resource, step.hard);
    });
  }
}
