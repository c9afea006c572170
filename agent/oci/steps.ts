// The steps of a container's birth as plain values. Each can print itself, so that a failure reads "mounts: mount proc on /proc: ...".
import type { MountPlan } from "./mounts.js";
import type { Hook } from "./spec.js";

export interface Node { readonly path: string; readonly type: string; readonly major: number; readonly minor: number; readonly mode: number; readonly uid: number; readonly gid: number }

export interface LimitStep { readonly do: "rlimit"; readonly name: string; readonly resource: number; readonly soft: number | bigint; readonly hard: number | bigint }

export type Step =
  | { readonly do: "join-cgroups"; readonly paths: readonly string[] }
  | { readonly do: "affinity"; readonly cpus: Uint8Array | undefined }
  | { readonly do: "oom-score"; readonly value: number }
  | LimitStep
  | { readonly do: "join"; readonly type: string; readonly path: string; readonly kind: number }
  | { readonly do: "new-cgroup-namespace" }
  | { readonly do: "loopback" }
  | { readonly do: "hostname"; readonly name: string }
  | { readonly do: "domainname"; readonly name: string }
  | { readonly do: "propagation"; readonly flags: number }
  | { readonly do: "root"; readonly path: string }
  | { readonly do: "mount"; readonly mount: MountPlan; /** A descriptor's number: the parent's detached copy of a bind's source. */ readonly made?: number; /** The same of a user namespace whose ids the child's copy is to have. */ readonly ids?: number }
  | { readonly do: "cgroup-mount"; readonly mount: MountPlan; readonly fresh: boolean; /** Version 2: the group's folder, when it has one of its own. */ readonly folder: string | undefined; readonly v1: readonly string[] | undefined }
  | { readonly do: "node"; readonly node: Node; /** A descriptor's number: the node that the parent has made, to be mounted there. */ readonly made?: number }
  | { readonly do: "dev-links" }
  | { readonly do: "console"; readonly rows: number; readonly columns: number }
  | { readonly do: "sysctl"; readonly key: string; readonly value: string }
  | { readonly do: "read-only"; readonly path: string }
  | { readonly do: "mask"; readonly path: string }
  | { readonly do: "remount-read-only"; readonly at: string }
  | { readonly do: "read-only-root"; readonly cwd: string }
  | { readonly do: "hooks-outside" }
  | { readonly do: "hooks-inside"; readonly hooks: readonly Hook[] }
  | { readonly do: "pivot" }
  | { readonly do: "move-root" }
  | { readonly do: "plain-root"; readonly path: string }
  | { readonly do: "enter-root" }
  | { readonly do: "root-propagation"; readonly flags: number };

/** What of the configuration a step is for, where that alone is its reason. */
const FIELDS: { readonly [K in Step["do"]]?: string } = {
  "oom-score": "process.oomScoreAdj", rlimit: "process.rlimits", join: "linux.namespaces", hostname: "hostname", domainname: "domainname", root: "root.path", "plain-root": "root.path", mount: "mounts", "cgroup-mount": "mounts",
  "remount-read-only": "mounts", node: "linux.devices", console: "process.terminal", sysctl: "linux.sysctl", "read-only": "linux.readonlyPaths", mask: "linux.maskedPaths", "read-only-root": "root.readonly",
  "hooks-inside": "hooks.createContainer", "root-propagation": "linux.rootfsPropagation",
};

/** A step as errors show it: the field that asks for it, and in words what it does. */
export function describe(step: Step): string {
  const field = FIELDS[step.do];
  return field === undefined ? inWords(step) : `${field}: ${inWords(step)}`;
}

function inWords(step: Step): string {
  switch (step.do) {
    case "join-cgroups": return "join the cgroups";
    case "affinity": return step.cpus === undefined ? "let the process run on all CPUs" : "process.execCPUAffinity.final";
    case "oom-score": return `set oom_score_adj to ${step.value}`;
    case "rlimit": return `set ${step.name} to ${step.soft}:${step.hard}`;
    case "join": return `join the ${step.type} namespace ${step.path}`;
    case "new-cgroup-namespace": return "make a cgroup namespace";
    case "loopback": return "bring the loopback interface up";
    case "hostname": return `set the host name to ${step.name}`;
    case "domainname": return `set the domain name to ${step.name}`;
    case "propagation": return "change the propagation of /";
    case "root": return `bind the root file system ${step.path}`;
    case "mount": return `mount ${step.mount.source} (${step.mount.type}) on ${step.mount.at}`;
    case "cgroup-mount": return `mount cgroup on ${step.mount.at}`;
    case "node": return `make the device ${step.node.path}`;
    case "dev-links": return "make the links in /dev";
    case "console": return "open the terminal";
    case "sysctl": return `set the sysctl ${step.key}`;
    case "read-only": return `make ${step.path} read-only`;
    case "mask": return `mask ${step.path}`;
    case "remount-read-only": return `remount ${step.at} read-only`;
    case "read-only-root": return "make the root file system read-only";
    case "hooks-outside": return "run the prestart and createRuntime hooks";
    case "hooks-inside": return "run the createContainer hooks";
    case "pivot": case "move-root": case "enter-root": return "change the root";
    case "plain-root": return `open the root file system ${step.path}`;
    case "root-propagation": return "set the propagation of the new root";
  }
}
