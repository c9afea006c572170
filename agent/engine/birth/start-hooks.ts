// startContainer hooks of a container whose pid namespace others are in: its process waits in there with nothing of the engine's, and so
// cannot run them itself. Each is a further process of the container, with the rights and the limits of its program. Loaded only for them.
import { SIG } from "../../abi/flags.js";
import { memfdCreate } from "../../sys/file.js";
import { withDeadline } from "../../lib/async.js";
import { because } from "../../lib/errors.js";
import type { Hook, Process as ProcessSpec } from "../../oci/spec.js";
import { changeable, type Container } from "../container.js";
import { execProcess } from "../exec.js";
import { DEFAULT_SECONDS, judge, late, stateFile, stateOf, title } from "../hooks.js";
import { signal, whenEnded } from "../process.js";

async function runOne(container: Container, process: ProcessSpec, hook: Hook): Promise<void> {
  using input = stateFile(stateOf(container, "created", container.initPid));
  using output = memfdCreate("output");
  const spec = { ...process, terminal: false, args: hook.args?.length ? hook.args : [hook.path], env: hook.env ?? process.env ?? [] };
  const started = await execProcess(container, "startContainer hook", spec, { keep: [], terminal: undefined, left: false, streams: { stdin: input, stdout: output, stderr: output }, program: hook.path });
  const seconds = hook.timeout ?? (container.judgement.patience === "endless" ? undefined : DEFAULT_SECONDS);
  const end = new Promise<number>((done) => whenEnded(started, done));
  try {
    judge(seconds === undefined ? await end : await withDeadline(hook.path, seconds * 1000, end, () => signal(started, SIG.KILL)).catch(() => { throw late(seconds); }), output);
  } finally {
    changeable(container).processes.delete(started.execId);
  }
}

/** Runs them one after the other; rejects with the first that fails. */
export async function runStartHooks(container: Container, { hooks, process }: NonNullable<Container["startHooks"]>): Promise<void> {
  for (let i = 0; i < hooks.length; i++) {
    const hook = hooks[i] as Hook;
    try {
      await runOne(container, process, hook);
    } catch (error) {
      throw because(title("startContainer", i, hook), error, "hook");
    }
  }
}
