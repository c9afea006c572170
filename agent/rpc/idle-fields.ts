// Fields of requests that are accepted for the sake of hosts that send them and have no effect in this agent: the table at the top of
// docs/agent-api.md. Whoever sets one is told so, when the call has succeeded, in one line for all of them.
import { Level, log } from "../lib/log.js";
import type { CreateContainerRequest, CreateSandboxRequest, ExecProcessRequest } from "./gen/messages.js";

type Idle<R> = readonly (readonly [name: string, value: (request: R) => unknown])[];

const PORTS: Idle<{ readonly stdinPort: number; readonly stdoutPort: number; readonly stderrPort: number }> = [
  ["stdin_port", (r) => r.stdinPort], ["stdout_port", (r) => r.stdoutPort], ["stderr_port", (r) => r.stderrPort],
];
interface Requests { CreateSandbox: CreateSandboxRequest; CreateContainer: CreateContainerRequest; ExecProcess: ExecProcessRequest }

const FIELDS: { readonly [C in keyof Requests]: Idle<Requests[C]> } = {
  CreateSandbox: [["guest_hook_path", (r) => r.guestHookPath]],
  CreateContainer: [
    ["string_user", (r) => r.stringUser], ["shared_mounts", (r) => r.sharedMounts], ...PORTS, ["OCI.Solaris", (r) => r.oci?.solaris], ["OCI.Windows", (r) => r.oci?.windows],
    ["OCI.Linux.IntelRdt", (r) => r.oci?.linux?.intelRdt], ["OCI.Process.User.Username", (r) => r.oci?.process?.user?.username],
  ],
  ExecProcess: [["string_user", (r) => r.stringUser], ...PORTS, ["process.User.Username", (r) => r.process?.user?.username]],
};

/** Does a field say something? On the wire what is zero or empty is not given. */
function isSet(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === "object" && value !== null ? Object.values(value).some(isSet) : Boolean(value);
}

/** Those of the request's fields that are set and have no effect. */
export function idleIn<C extends keyof Requests>(call: C, request: Requests[C]): readonly string[] {
  const fields: Idle<Requests[C]> = FIELDS[call];
  return fields.filter(([, value]) => isSet(value(request))).map(([name]) => name);
}

/** Says it, if there are any. */
export function tellIdle(call: string, names: readonly string[], cid?: string): void {
  if (names.length > 0) log(Level.WARN, `${call}: accepted without effect in this agent: ${names.join(", ")}`, cid === undefined ? undefined : { cid }, "rpc");
}
