// The boot of a machine whose PID 1 is the agent, in order. Loaded only then: an agent that runs by hand never has it.
import { attempt } from "../lib/errors.js";
import { exists, fillStdio } from "../sys/file.js";
import { lazy } from "../lib/lazy.js";
import { mountCgroups, mountEarly } from "./early-mounts.js";
import { loopbackUp } from "../lib/loopback.js";
import { nameHost, powerOff, takeConsole } from "./pid1.js";
import type { Config } from "./config.js";
import { raiseQuotas } from "./quotas.js";

const drivers = lazy<typeof import("./drivers.js")>("init/drivers.js");

/** What needs no settings: file systems, drivers where they are modules, the console, the host name. */
export function prepare(): void {
  mountEarly();
  if (exists("/lib/modules")) drivers().bringUp();
  fillStdio(); // without a console the kernel starts init without streams
  takeConsole();
  nameHost();
}

/** What needs them: the cgroup hierarchy. Then the loopback interface, which containers share, and what they could use up. */
export function finish(config: Config): void {
  raiseQuotas();
  mountCgroups(config.cgroupV1);
  attempt("bring the loopback interface up", loopbackUp);
}

/** Of all that, what is not the machine's but this process's own, for a program that takes the place of one that has done it. */
export const prepareAgain = __DEBUG__ ? (): void => {
  if (exists("/lib/modules")) drivers().bringLater();
} : undefined;

export { powerOff };
