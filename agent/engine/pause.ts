// Pausing: every process of a container rests, and goes on where it was. The container is what it was before. See cgroups(7), freezer.
import { changeable, type Container, mustBe, statusOf } from "./container.js";

/** Freezes every process; resolves when all of them rest. Rejects with kind "precondition" unless it is created or running, or with what the kernel says. */
export async function pauseContainer(container: Container): Promise<void> {
  mustBe(container, "pause", "created", "running");
  const own = changeable(container);
  own.pausedFrom = statusOf(container);
  own.status = "paused"; // from now on: a process that is born while the others come to rest would keep them from it
  try {
    await container.cgroup.freeze();
  } catch (error) {
    own.status = own.pausedFrom;
    throw error;
  }
}

/** Thaws a paused container, which is then what it was before. */
export async function resumeContainer(container: Container): Promise<void> {
  await container.cgroup.thaw();
  changeable(container).status = container.pausedFrom ?? "running";
}
