// features: what this runtime knows, read from the tables that the engine works by. (runtime-spec features.md, features-linux.md:
// it is about the runtime alone, so the kernel is not asked.)
import { capNames } from "../oci/caps.js";
import { HOOK_KINDS } from "../oci/check-hooks.js";
import { NAMESPACES } from "../oci/check.js";
import { optionNames } from "../oci/mounts.js";
import { MEMORY_FLAGS, MEMORY_MODES } from "../oci/schedule.js";
import { ACTIONS, ARCHITECTURES, FLAGS, OPERATORS } from "../oci/seccomp.js";
import { type Command, print } from "./context.js";

const ALL = { low: 0xffffffff, high: 0xffffffff };
const names = (table: object): string[] => Object.keys(table).sort();

/** The features document. */
export function features(): object {
  const enabled = true;
  const flags = names(FLAGS);
  return {
    ociVersionMin: "1.0.0", ociVersionMax: "1.3.0", hooks: HOOK_KINDS, mountOptions: optionNames(),
    linux: {
      namespaces: [...NAMESPACES].sort(), capabilities: capNames(ALL),
      cgroup: { v1: true, v2: true, systemd: false, systemdUser: false, rdma: true },
      seccomp: { enabled, actions: names(ACTIONS), operators: names(OPERATORS), archs: names(ARCHITECTURES), knownFlags: flags, supportedFlags: flags },
      apparmor: { enabled }, selinux: { enabled }, intelRdt: { enabled, schemata: true, monitoring: true },
      memoryPolicy: { modes: names(MEMORY_MODES), flags: names(MEMORY_FLAGS) }, mountExtensions: { idmap: { enabled } }, netDevices: { enabled },
    },
    annotations: { "org.opencontainers.runc.checkpoint.enabled": "false" }, potentiallyUnsafeConfigAnnotations: [],
  };
}

/** Prints it. */
function run(): number {
  print(1, `${JSON.stringify(features(), undefined, 2)}\n`);
  return 0;
}

export const commands = {
  features: { about: "print what this runtime knows as JSON", usage: "", least: 0, most: 0, options: {}, run },
} as const satisfies { readonly [name: string]: Command };
