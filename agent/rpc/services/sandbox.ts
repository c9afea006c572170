// The life of the sandbox.
import { createSandbox, destroySandbox } from "../../sandbox/lifecycle.js";
import type { Sandbox } from "../../sandbox/sandbox.js";
import { Serial } from "../../lib/async.js";
import { AppError } from "../../lib/errors.js";
import { idleIn, tellIdle } from "../idle-fields.js";
import type { Handlers } from "../methods.js";

/** The handlers; `end` is called once, when DestroySandbox has been answered and the agent has to go. */
export function sandboxLife(sandbox: Sandbox, end: () => void): Handlers<"sandbox"> {
  let ending = false;
  const turns = new Serial(); // a second call must not undo what the first is still doing
  return {
    CreateSandbox: async (request) => {
      const idle = idleIn("CreateSandbox", request);
      await turns.run(() => createSandbox(sandbox, { id: request.sandboxId, hostname: request.hostname, dns: request.dns, storages: request.storages, kernelModules: request.kernelModules }));
      tellIdle("CreateSandbox", idle);
    },
    DestroySandbox: async () => {
      if (ending) throw new AppError("internal", '"failed to get sandbox sender channel"');
      ending = true;
      try {
        await turns.run(() => destroySandbox(sandbox));
      } catch (error) {
        ending = false; // what is left can be asked for once more
        throw error;
      }
      end();
    },
  };
}
