// The runtime specification (1.3, config.md and config-linux.md) as the agent honours it: JSON names, read-only types, nothing
// else. Absent means "not given". 64-bit values are numbers, four of them exact bigints where that matters.

export interface Spec {
  readonly ociVersion: string;
  readonly process?: Process;
  readonly root?: Root;
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly Mount[];
  readonly hooks?: Hooks;
  readonly annotations?: { readonly [key: string]: string };
  readonly linux?: Linux;
}

export interface Root { readonly path: string; readonly readonly: boolean }

export interface Process {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user: User;
  readonly args: readonly string[];
  readonly env?: readonly string[];
  readonly cwd: string;
  readonly capabilities?: Capabilities;
  readonly rlimits?: readonly Rlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  readonly oomScoreAdj?: number;
  readonly selinuxLabel?: string;
  readonly scheduler?: Scheduler;
  readonly ioPriority?: { readonly class: string; readonly priority: number };
  /** Of a further process only: the first process never has it. */
  readonly execCPUAffinity?: { readonly initial?: string; readonly final?: string };
}
export interface Scheduler {
  readonly policy: string;
  readonly nice?: number;
  readonly priority?: number;
  readonly flags?: readonly string[];
  readonly runtime?: number | bigint;
  readonly deadline?: number | bigint;
  readonly period?: number | bigint;
}

export interface User { readonly uid: number; readonly gid: number; readonly umask?: number; readonly additionalGids?: readonly number[] }
export interface Capabilities {
  readonly bounding?: readonly string[];
  readonly effective?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly permitted?: readonly string[];
  readonly ambient?: readonly string[];
}
export interface Rlimit { readonly type: string; readonly hard: number | bigint; readonly soft: number | bigint }

export interface Mount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
}

export interface Hook { readonly path: string; readonly args?: readonly string[]; readonly env?: readonly string[]; readonly timeout?: number }
export type HookKind = "prestart" | "createRuntime" | "createContainer" | "startContainer" | "poststart" | "poststop";
export type Hooks = { readonly [K in HookKind]?: readonly Hook[] };

export interface Linux {
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  readonly sysctl?: { readonly [key: string]: string };
  readonly resources?: Resources;
  readonly cgroupsPath?: string;
  readonly namespaces?: readonly Namespace[];
  readonly devices?: readonly Device[];
  readonly seccomp?: Seccomp;
  readonly rootfsPropagation?: string;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly mountLabel?: string;
  /** Of the clocks "monotonic" and "boottime" in a new time namespace. */
  readonly timeOffsets?: { readonly [clock: string]: { readonly secs?: number; readonly nanosecs?: number } };
  readonly personality?: { readonly domain: string; readonly flags?: readonly string[] };
  /** Without a mode it is refused. */
  readonly memoryPolicy?: { readonly mode?: string; readonly nodes?: string; readonly flags?: readonly string[] };
  readonly intelRdt?: IntelRdt;
  /** Interfaces of the host by name, moved into the container's network namespace. */
  readonly netDevices?: { readonly [name: string]: { readonly name?: string } };
}
export interface IntelRdt {
  readonly closID?: string;
  readonly l3CacheSchema?: string;
  readonly memBwSchema?: string;
  readonly schemata?: readonly string[];
  readonly enableMonitoring?: boolean;
}
export interface IdMapping { readonly containerID: number; readonly hostID: number; readonly size: number }
export interface Namespace { readonly type: string; readonly path?: string }
export interface Device {
  readonly path: string;
  readonly type: string;
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface Resources {
  readonly devices?: readonly DeviceRule[];
  readonly memory?: Memory;
  readonly cpu?: Cpu;
  readonly pids?: { readonly limit: number };
  readonly blockIO?: BlockIO;
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly network?: { readonly classID?: number; readonly priorities?: readonly { readonly name: string; readonly priority: number }[] };
  readonly rdma?: { readonly [device: string]: { readonly hcaHandles?: number; readonly hcaObjects?: number } };
  readonly unified?: { readonly [file: string]: string };
}
export interface DeviceRule { readonly allow: boolean; readonly type?: string; readonly major?: number; readonly minor?: number; readonly access?: string }
export interface Memory {
  readonly limit?: number;
  readonly reservation?: number;
  readonly swap?: number;
  readonly kernel?: number;
  readonly kernelTCP?: number;
  readonly swappiness?: number;
  readonly useHierarchy?: boolean;
  readonly disableOOMKiller?: boolean;
  readonly checkBeforeUpdate?: boolean;
}
export interface Cpu {
  readonly shares?: number;
  readonly quota?: number;
  readonly period?: number;
  readonly burst?: number;
  readonly idle?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  readonly cpus?: string;
  readonly mems?: string;
}
export interface ThrottleDevice { readonly major: number; readonly minor: number; readonly rate: number }
export interface WeightDevice { readonly major: number; readonly minor: number; readonly weight?: number; readonly leafWeight?: number }
export interface BlockIO {
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly WeightDevice[];
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[];
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[];
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[];
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[];
}

export interface Seccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  /** AF_UNIX stream socket that gets the notify descriptor of a filter with SCMP_ACT_NOTIFY. */
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls?: readonly SeccompRule[];
}
export interface SeccompRule { readonly names: readonly string[]; readonly action: string; readonly errnoRet?: number; readonly args?: readonly SeccompArg[] }
export interface SeccompArg { readonly index: number; readonly value: number | bigint; readonly valueTwo?: number | bigint; readonly op: string }
