// Owns the names of what is measured: the keys of dist/bench.json, which group takes each, and its unit. Pure. A name once
// published stays: others read the file by it.

/** What can be measured alone; `--only` takes these names or keys. */
export const GROUPS = ["sizes", "start", "run", "exec", "check", "stdout", "stdin", "memory", "crowd", "vm-memory", "vm", "instructions", "first-run"] as const;

export type Group = (typeof GROUPS)[number];

export type Unit = "bytes" | "ms" | "us" | "s" | "MB/s" | "Minstr" | "x";

export interface KeyInfo {
  readonly group: Group;
  readonly unit: Unit;
  readonly text: string;
}

export const KEYS = {
  agent_binary_bytes: { group: "sizes", unit: "bytes", text: "dist/kata-agent" },
  initrd_bytes: { group: "sizes", unit: "bytes", text: "dist/initrd.img as shipped" },
  initrd_zstd_bytes: { group: "sizes", unit: "bytes", text: "the same archive with zstd" },
  bzimage_bytes: { group: "sizes", unit: "bytes", text: "dist/bzImage" },
  vmlinux_bytes: { group: "sizes", unit: "bytes", text: "dist/vmlinux" },
  agent_rss_bytes: { group: "vm-memory", unit: "bytes", text: "resident memory of process 1 in the VM, idle" },
  agent_anon_bytes: { group: "vm-memory", unit: "bytes", text: "the anonymous part of it" },
  container_anon_bytes: { group: "memory", unit: "bytes", text: "anonymous memory of the agent for one idle container" },
  start_ms: { group: "start", unit: "ms", text: "exec of the agent to its first answered Check" },
  run_ms: { group: "run", unit: "ms", text: "create, start, wait, remove by the agent" },
  run_ms_crun: { group: "run", unit: "ms", text: "crun run of the same bundle" },
  run_ms_runc: { group: "run", unit: "ms", text: "runc run of the same bundle" },
  oci_run_ms: { group: "run", unit: "ms", text: "our command line, run of the same bundle" },
  run_ms_floor: { group: "run", unit: "ms", text: "bare C with the same namespaces and mounts" },
  exec_ms: { group: "exec", unit: "ms", text: "exec and wait by the agent" },
  oci_exec_ms: { group: "exec", unit: "ms", text: "our command line, exec in an idle container" },
  oci_exec_ms_crun: { group: "exec", unit: "ms", text: "crun exec in one of the same bundle" },
  oci_exec_ms_runc: { group: "exec", unit: "ms", text: "runc exec in one of the same bundle" },
  check_us: { group: "check", unit: "us", text: "round trip of Health.Check" },
  check_floor_us: { group: "check", unit: "us", text: "the same by a bare C server" },
  stdout_mb_per_s: { group: "stdout", unit: "MB/s", text: "ReadStdout, 32 KiB each" },
  stdout_floor_mb_per_s: { group: "stdout", unit: "MB/s", text: "the same by a bare C server" },
  stdin_mb_per_s: { group: "stdin", unit: "MB/s", text: "WriteStdin, 32 KiB each" },
  stdin_floor_mb_per_s: { group: "stdin", unit: "MB/s", text: "the same by a bare C server" },
  create_500_ratio: { group: "crowd", unit: "x", text: "create by the agent with 500 containers there, over the first ones" },
  oci_create_500_ratio: { group: "crowd", unit: "x", text: "the same by our command line" },
  vm_ready_ms: { group: "vm", unit: "ms", text: "start of the VMM to the first answered RPC" },
  vm_ready_debian_ms: { group: "vm", unit: "ms", text: "the same on Debian's kernel, with its modules in the initrd" },
  vm_floor_ms: { group: "vm", unit: "ms", text: "our kernel with an init that only powers off" },
  boot_minstr: { group: "instructions", unit: "Minstr", text: "guest instructions to the first answered RPC" },
  boot_floor_minstr: { group: "instructions", unit: "Minstr", text: "guest instructions of a boot that only powers off" },
  first_run_again_s: { group: "first-run", unit: "s", text: "make run on Debian's kernel, the second time" },
  first_run_initrd_bytes: { group: "first-run", unit: "bytes", text: "the initrd with the modules of Debian's kernel" },
} as const satisfies Record<string, KeyInfo>;

export type Key = keyof typeof KEYS;

/** What one run of the bench has found; keys that could not be measured are not there. */
export type Results = Partial<Record<Key, number>>;

export const isKey = (name: string): name is Key => Object.hasOwn(KEYS, name);

/**
 * The groups that `--only` asks for: `names` are groups or keys, parted by commas. Throws RangeError naming what is neither.
 */
export const groupsOf = (names: string | undefined): ReadonlySet<Group> => {
  if (names === undefined) return new Set(GROUPS);
  return new Set(
    names.split(",").map((name) => {
      const group = isKey(name) ? KEYS[name].group : GROUPS.find((g) => g === name);
      if (group === undefined) throw new RangeError(`--only "${name}": neither a key nor a group (groups: ${GROUPS.join(", ")})`);
      return group;
    }),
  );
};
