// Protobuf stops here: the OCI messages become a runtime spec as config.json would have it. On the wire everything has a value, so what is
// zero or empty mostly means "not given"; the exceptions are told where they are. Names of capabilities, limits, namespaces, actions and
// so on are not judged here: oci/check.ts refuses what it does not know, for all callers. Pure.
// Source: agent-api 11; opencontainers/runtime-spec.
import type * as oci from "../oci/spec.js";
import type * as pb from "./gen/messages.js";

/** The fields that say something: "", 0, empty lists and maps and absent ones are left out, false stays. */
function given<T extends object>(fields: T): Given<T> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === "" || value === 0) continue;
    if (Array.isArray(value) ? value.length === 0 : typeof value === "object" && isEmpty(value as object)) continue;
    result[name] = value;
  }
  return result as Given<T>;
}

function isEmpty(fields: object): boolean {
  for (const _name in fields) return false;
  return true;
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The runtime spec in a CreateContainer request. */
export function toSpec(spec: pb.Spec): oci.Spec {
  return {
    ociVersion: spec.ociVersion,
    ...given({
      hostname: spec.hostname,
      mounts: spec.mounts.map(toMount),
      annotations: { ...spec.annotations },
      hooks: spec.hooks === undefined ? undefined : toHooks(spec.hooks),
    }),
    ...(spec.root === undefined ? {} : { root: { path: spec.root.path, readonly: spec.root.readonly } }),
    ...(spec.process === undefined ? {} : { process: toProcess(spec.process) }),
    ...(spec.linux === undefined ? {} : { linux: toLinux(spec.linux) }),
  };
}

const toMount = (m: pb.Mount): oci.Mount => ({ destination: m.destination, ...given({ type: m.type, source: m.source, options: m.options }) });

const toHook = (h: pb.Hook): oci.Hook => ({ path: h.path, ...given({ args: h.args, env: h.env, timeout: Math.max(0, h.timeout) }) });

function toHooks(hooks: pb.Hooks): oci.Hooks {
  return given({
    prestart: hooks.prestart.map(toHook),
    createRuntime: hooks.createRuntime.map(toHook),
    createContainer: hooks.createContainer.map(toHook),
    startContainer: hooks.startContainer.map(toHook),
    poststart: hooks.poststart.map(toHook),
    poststop: hooks.poststop.map(toHook),
  });
}

/** The process of a spec or of an ExecProcess request. An oomScoreAdj of 0 cannot be told from none and counts as none. */
export function toProcess(p: pb.Process): oci.Process {
  return {
    terminal: p.terminal,
    user: { uid: p.user?.uid ?? 0, gid: p.user?.gid ?? 0, ...given({ additionalGids: p.user?.additionalGids }) },
    args: p.args,
    env: p.env,
    cwd: p.cwd === "" ? "/" : p.cwd,
    noNewPrivileges: p.noNewPrivileges,
    ...(p.consoleSize === undefined ? {} : { consoleSize: { height: p.consoleSize.height, width: p.consoleSize.width } }),
    ...(p.capabilities === undefined ? {} : { capabilities: { ...p.capabilities } }),
    ...given({
      rlimits: p.rlimits.map((r) => ({ type: r.type, hard: r.hard, soft: r.soft })),
      apparmorProfile: p.apparmorProfile,
      oomScoreAdj: p.oomScoreAdj,
      selinuxLabel: p.selinuxLabel,
    }),
  };
}

function toLinux(l: pb.Linux): oci.Linux {
  return {
    namespaces: l.namespaces.map((n) => ({ type: n.type, ...given({ path: n.path }) })),
    ...given({
      uidMappings: l.uidMappings,
      gidMappings: l.gidMappings,
      sysctl: { ...l.sysctl },
      resources: l.resources === undefined ? undefined : toResources(l.resources),
      cgroupsPath: l.cgroupsPath,
      devices: l.devices.map((d) => ({ ...d })),
      seccomp: l.seccomp === undefined ? undefined : toSeccomp(l.seccomp),
      rootfsPropagation: l.rootfsPropagation,
      maskedPaths: l.maskedPaths,
      readonlyPaths: l.readonlyPaths,
      mountLabel: l.mountLabel,
    }),
  };
}

/** Resource limits, also those of UpdateContainer. Of -1 ("no limit") and 0 ("not given") only the first is passed on. */
export function toResources(r: pb.LinuxResources): oci.Resources {
  return given({
    devices: r.devices.map(toDeviceRule),
    memory: r.memory === undefined ? undefined : toMemory(r.memory),
    cpu: r.cpu === undefined ? undefined : given({ ...r.cpu }),
    pids: r.pids === undefined || r.pids.limit === 0 ? undefined : { limit: r.pids.limit },
    blockIO: r.blockIO === undefined ? undefined : given({ ...r.blockIO }),
    hugepageLimits: r.hugepageLimits,
    network: r.network === undefined ? undefined : given({ ...r.network }),
  });
}

/** Numbers of 0 and below are wildcards: the hosts send 0 when none was given. */
function toDeviceRule(d: pb.LinuxDeviceCgroup): oci.DeviceRule {
  return { allow: d.allow, ...given({ type: d.type, major: Math.max(0, d.major), minor: Math.max(0, d.minor), access: d.access }) };
}

function toMemory(m: pb.LinuxMemory): oci.Memory {
  const { disableOOMKiller, ...limits } = m;
  return { ...given(limits), ...(disableOOMKiller ? { disableOOMKiller } : {}) };
}

/** Without an errnoRet the kernel's answer is the spec's default (EPERM), not "success". */
function toSeccomp(s: pb.LinuxSeccomp): oci.Seccomp {
  return {
    defaultAction: s.defaultAction,
    ...given({
      architectures: s.architectures,
      flags: s.flags,
      syscalls: s.syscalls.map((c) => ({
        names: c.names,
        action: c.action,
        ...(c.errnoRet === undefined ? {} : { errnoRet: c.errnoRet }),
        ...(c.args.length === 0 ? {} : { args: c.args.map((a) => ({ ...a })) }),
      })),
    }),
  };
}
