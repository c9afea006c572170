// From created to running: the waiting child is told to go on, and its end of the channel closes when execve has succeeded.
import { AppError, because, messageOf } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import { mustBe, type Container } from "./container.js";
import { READY_MS } from "./create.js";

const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");

/**
 * Starts the first process. Rejects with kind "precondition" unless the container is created (a second start, a process that
 * died), and with what failed when the program cannot be executed.
 */
export async function startContainer(container: Container): Promise<void> {
  const { gate } = container;
  mustBe(container, "start", "created");
  if (gate === undefined) throw new AppError("precondition", `cannot start container ${container.id}: it has been started already`);
  container.gate = undefined;
  try {
    if (!gate.tell("start")) throw new AppError("precondition", "its process is gone");
    const said = await gate.next(`start of container ${container.id}`, READY_MS);
    if (said.say !== "end") throw new AppError("internal", `its process said ${said.say} out of turn`);
    if (container.status === "created") container.status = "running";
    if (container.hooks?.poststart?.length) await afterStart(container);
  } catch (error) {
    throw because(`start container ${container.id}`, error);
  } finally {
    gate.close();
  }
}

/** The program runs already: a hook that fails now is told in the log, as hosts expect. */
async function afterStart(container: Container): Promise<void> {
  try {
    const { id, bundleDir, annotations, initPid } = container;
    await hooks().runHooks("poststart", container.hooks?.poststart ?? [], { id, status: "running", pid: initPid, bundle: bundleDir, annotations });
  } catch (error) {
    log(Level.WARN, messageOf(error), { cid: container.id });
  }
}
