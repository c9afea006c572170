// Some of the cases of `make faults`, which has them all: a pod's life with one system call failing (strace's fault injection). Each is
// one that was not handled once: it hung, or left a mount, a folder, a group or a descriptor.
import { afterAll, beforeAll, expect, it } from "vitest";
import { caseOf } from "../faults/cases.js";
import { run, runEnd, start, stop, type Subject } from "../faults/subject.js";
import { suite } from "../helpers/suite.js";


suite("a pod's life with a failing call", { needs: ["agent", "program:strace"] }, () => {
  let subject: Subject | undefined;
  beforeAll(async () => {
    subject = await start();
  });
  afterAll(async () => {
    if (subject !== undefined) await stop(subject);
  });

  it.each([
    "pidfd_send_signal:1:EPERM", // the helper that made a process slept on, and its exec was never answered
    "pidfd_send_signal:1+:EPERM",
    "mmap:1+:ENOMEM:f", // no helper could remove the folder of a container that had failed: it stayed
    "clone:3:ENOMEM", // a size for a volume that was not there left its folder
  ])("%s", async (text) => {
    if (subject === undefined) throw new Error("the one before it has ended the agent");
    const result = await run(subject, caseOf(text));
    if (result.ended !== "handled") {
      await stop(subject);
      subject = undefined;
    }
    expect(result.ended, result.why).toBe("handled");
  });

  it("the end of a sandbox that is at work", async () => {
    const { ended, why: said } = await runEnd(caseOf("clone:1:EAGAIN:end"));
    expect(ended, said).toBe("handled");
  });
});
