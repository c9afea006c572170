// Limits and the oom score of a child in a new user namespace: in there it has no right to raise its own, so the parent sets them
// when the child is ready. Loaded only then. (facts 1.2, rlimits and oomScoreAdj; capabilities(7), CAP_SYS_RESOURCE)
import { sys } from "../sys/call.js";
import { NR } from "../sys/nr.js";
import { prlimit } from "../sys/process.js";
import { attempt } from "../lib/errors.js";
import { writeText } from "../lib/fs.js";
import { describe, type Step } from "../oci/steps.js";

/** The steps that the parent does. One who is not root cannot reach the child's oom score, which the child then sets as far as it may. */
export function fromOutside(steps: readonly Step[]): Step[] {
  const root = sys(NR.geteuid) === 0;
  return steps.filter((s) => s.do === "rlimit" || (root && s.do === "oom-score"));
}

/** Does them on a process. Throws what the kernel refused. */
export function limitFromOutside(pid: number, steps: readonly Step[]): void {
  for (const step of steps) {
    attempt(describe(step), () => {
      if (step.do === "oom-score") writeText(`/proc/${pid}/oom_score_adj`, String(step.value));
      else if (step.do === "rlimit") prlimit(pid, step.resource, step.soft, step.hard);
    });
  }
}
