// Signals of our own, handed on to a process in a guest; who does not end by them is killed, so that leaving always works.
import type { AgentClient } from "../client/agent-client.js";
import type { ProcessName } from "../client/stdio.js";
import { attach } from "../container/attach.js";
import type { Interrupt } from "./interrupt.js";

const SIGHUP = 1;
const SIGKILL = 9;
const KILL_AFTER_MS = 2_000;
/** After the kill, for the streams to end; a guest that does not even do that is left. */
const GIVE_UP_AFTER_MS = 3_000;

interface Forwarding {
  /** Rejects when a killed process does not end. */
  gaveUp: Promise<never>;
  stop(): void;
}

/**
 * The first signal goes to the process, the second kills. With `whole` everybody in the container is killed, and a first one that is
 * ignored kills too; without, only a hang-up does: then there is nobody left to send a second.
 */
const forwardSignals = (client: AgentClient, name: ProcessName, interrupt: Interrupt, whole: boolean): Forwarding => {
  const timers: NodeJS.Timeout[] = [];
  const gaveUp = new Promise<never>((_resolve, reject) => {
    const kill = (): void => {
      client.signalProcess({ ...(whole ? { containerId: name.containerId } : name), signal: SIGKILL }).catch(() => undefined);
      timers.push(setTimeout(() => reject(new Error(`${whole ? `container ${name.containerId}` : "the command"} did not end after it was killed`)), GIVE_UP_AFTER_MS));
    };
    void interrupt.first.then((signal) => {
      if (whole || signal === SIGHUP) timers.push(setTimeout(kill, KILL_AFTER_MS));
      return client.signalProcess({ ...name, signal }).catch(() => undefined);
    });
    void interrupt.second.then(kill);
  });
  gaveUp.catch(() => undefined);
  return { gaveUp, stop: () => timers.forEach((timer) => clearTimeout(timer)) };
};

/** Attaches our streams to a process that runs, with our signals; its exit status. `whole`: see forwardSignals. Rejects when a killed process does not end. */
export const attend = async (client: AgentClient, name: ProcessName, { tty, interactive }: { readonly tty?: boolean; readonly interactive?: boolean }, interrupt: Interrupt, whole: boolean): Promise<number> => {
  const forwarding = forwardSignals(client, name, interrupt, whole);
  const attached = attach(client, name, { terminal: tty === true, interactive: interactive === true, leave: interrupt.signal });
  attached.catch(() => undefined);
  try {
    return await Promise.race([attached, forwarding.gaveUp]);
  } finally {
    forwarding.stop();
  }
};
