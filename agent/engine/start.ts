// From created to running: the waiting child is told to go on, and its end of the channel closes when execve has succeeded.
import { SIG } from "../abi/flags.js";
import { AppError, because } from "../lib/errors.js";
import { withPatience } from "../lib/foreign.js";
import { lazy } from "../lib/lazy.js";
import { changeable, mustBe, type Container } from "./container.js";
import { signal } from "./process.js";
import { nextOf, READY_MS } from "./birth/newborn.js";

const startHooks = lazy<typeof import("./birth/start-hooks.js")>("engine/birth/start-hooks.js");
const hooks = lazy<typeof import("./hooks.js")>("engine/hooks.js");

/** A container whose startContainer hook fails ends, as when its own process runs them. */
async function runHooksFirst(container: Container, wanted: NonNullable<Container["startHooks"]>): Promise<void> {
  try {
    await startHooks().runStartHooks(container, wanted);
  } catch (error) {
    signal(container.init, SIG.KILL);
    throw error;
  }
}

/**
 * Starts the first process. Rejects with kind "precondition" unless the container is created (a second start, a process that
 * died), and with what failed when the program cannot be executed. A poststart hook that fails is an error of a command; the
 * agent logs it, as hosts expect: the program runs already.
 */
export async function startContainer(container: Container): Promise<void> {
  const { startChannel } = container;
  const own = changeable(container);
  mustBe(container, "start", "created");
  if (startChannel === undefined) throw new AppError("precondition", `cannot start container ${container.id}: it has been started already`);
  let heard: ReturnType<typeof startChannel.next>;
  try {
    if (container.startHooks !== undefined) await runHooksFirst(container, container.startHooks);
    heard = nextOf(container.init, startChannel, `start of container ${container.id}`, container.judgement.patience === "endless" ? Infinity : withPatience(READY_MS));
  } catch (error) {
    throw because(`start container ${container.id}`, error); // nobody would hear how it went: it is not started, and may be later
  }
  own.startChannel = undefined;
  try {
    if (!startChannel.tell("start")) {
      heard.catch(() => undefined);
      throw new AppError("precondition", "its process is gone");
    }
    const said = await heard;
    if (said.say !== "end") throw new AppError("internal", `its process said ${said.say} out of turn`);
    if (own.status === "created") own.status = "running";
    if (container.hooks?.poststart?.length) await hooks().runHooks("poststart", container.hooks.poststart, hooks().stateOf(container, "running", container.initPid), container.judgement, container.judgement.poststartFailure === "logged");
  } catch (error) {
    throw because(`start container ${container.id}`, error);
  } finally {
    startChannel.close();
  }
}

/** Tells of each process that the kernel kills for want of memory, from now on or after the first `told`, until there is an end to it. */
export function watchOom(container: Container, onOom: () => void, told?: number): void {
  changeable(container).oomWatch ??= container.cgroup.watchOom(onOom, told);
}
