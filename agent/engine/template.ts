// What further processes take over from a container: cut out of its configuration, so that a later command finds the same.
import { capabilitySets } from "../oci/caps.js";
import type { Linux, Process as ProcessSpec, Spec } from "../oci/spec.js";
import type { Container, ExecTemplate, Filter } from "./container.js";

/** The limits that a process asks for. */
export function limitsOf({ rlimits, oomScoreAdj }: Pick<ProcessSpec, "rlimits" | "oomScoreAdj">): ExecTemplate["limits"] {
  return { ...(rlimits === undefined ? {} : { rlimits }), ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }) };
}

function inherited({ scheduler, ioPriority, execCPUAffinity }: Partial<ProcessSpec> = {}): ExecTemplate["process"] {
  return { ...(scheduler === undefined ? {} : { scheduler }), ...(ioPriority === undefined ? {} : { ioPriority }), ...(execCPUAffinity === undefined ? {} : { execCPUAffinity }) };
}

function ofAll({ personality, memoryPolicy }: Linux = {}): ExecTemplate["linux"] {
  return { ...(personality === undefined ? {} : { personality }), ...(memoryPolicy === undefined ? {} : { memoryPolicy }) };
}

/** What further processes take over from a container with this configuration. */
export function templateOf(spec: Spec, seccompFilter: Filter | undefined): ExecTemplate {
  return {
    userNamespace: spec.linux?.namespaces?.some((n) => n.type === "user") ?? false, timeNamespace: spec.linux?.namespaces?.some((n) => n.type === "time") ?? false, pidNamespace: spec.linux?.namespaces?.some((n) => n.type === "pid") ?? false, caps: capabilitySets(spec.process?.capabilities),
    limits: spec.process === undefined ? {} : limitsOf(spec.process), process: inherited(spec.process), linux: ofAll(spec.linux), seccomp: seccompFilter,
  };
}

/** The hooks that somebody else runs for the container's first process, when others are in its pid namespace. */
export function startHooksOf({ hooks, process, linux }: Spec): Container["startHooks"] {
  const some = hooks?.startContainer ?? [];
  return some.length > 0 && process !== undefined && linux?.namespaces?.some((n) => n.type === "pid" && n.path) === true ? { hooks: some, process } : undefined;
}
