// Written by protos/gen.ts from the .proto files; do not edit. 64-bit numbers are rounded above 2^53.

export interface CreateContainerRequest { containerId: string; execId: string; stringUser?: StringUser; devices: Device[]; storages: Storage[]; oci?: Spec; sandboxPidns: boolean; sharedMounts: SharedMount[]; stdinPort: number; stdoutPort: number; stderrPort: number }
export interface StartContainerRequest { containerId: string }
export interface RemoveContainerRequest { containerId: string; timeout: number }
export interface ExecProcessRequest { containerId: string; execId: string; stringUser?: StringUser; process?: Process; stdinPort: number; stdoutPort: number; stderrPort: number }
export interface SignalProcessRequest { containerId: string; execId: string; signal: number }
export interface WaitProcessRequest { containerId: string; execId: string }
export interface WaitProcessResponse { status: number }
export interface UpdateContainerRequest { containerId: string; resources?: LinuxResources }
export interface StatsContainerRequest { containerId: string }
export interface PauseContainerRequest { containerId: string }
export interface ResumeContainerRequest { containerId: string }
export interface CpuUsage { totalUsage: number; percpuUsage: number[]; usageInKernelmode: number; usageInUsermode: number }
export interface ThrottlingData { periods: number; throttledPeriods: number; throttledTime: number }
export interface CpuStats { cpuUsage?: CpuUsage; throttlingData?: ThrottlingData }
export interface PidsStats { current: number; limit: number }
export interface MemoryData { usage: number; maxUsage: number; failcnt: number; limit: number }
export interface MemoryStats { cache: number; usage?: MemoryData; swapUsage?: MemoryData; kernelUsage?: MemoryData; useHierarchy: boolean; stats: Record<string, number> }
export interface BlkioStatsEntry { major: number; minor: number; op: string; value: number }
export interface BlkioStats { ioServiceBytesRecursive: BlkioStatsEntry[]; ioServicedRecursive: BlkioStatsEntry[]; ioQueuedRecursive: BlkioStatsEntry[]; ioServiceTimeRecursive: BlkioStatsEntry[]; ioWaitTimeRecursive: BlkioStatsEntry[]; ioMergedRecursive: BlkioStatsEntry[]; ioTimeRecursive: BlkioStatsEntry[]; sectorsRecursive: BlkioStatsEntry[] }
export interface HugetlbStats { usage: number; maxUsage: number; failcnt: number }
export interface CgroupStats { cpuStats?: CpuStats; memoryStats?: MemoryStats; pidsStats?: PidsStats; blkioStats?: BlkioStats; hugetlbStats: Record<string, HugetlbStats> }
export interface NetworkStats { name: string; rxBytes: number; rxPackets: number; rxErrors: number; rxDropped: number; txBytes: number; txPackets: number; txErrors: number; txDropped: number }
export interface StatsContainerResponse { cgroupStats?: CgroupStats; networkStats: NetworkStats[] }
export interface WriteStreamRequest { containerId: string; execId: string; data: Uint8Array }
export interface WriteStreamResponse { len: number }
export interface ReadStreamRequest { containerId: string; execId: string; len: number }
export interface ReadStreamResponse { data: Uint8Array }
export interface CloseStdinRequest { containerId: string; execId: string }
export interface TtyWinResizeRequest { containerId: string; execId: string; row: number; column: number }
export interface KernelModule { name: string; parameters: string[] }
export interface CreateSandboxRequest { hostname: string; dns: string[]; storages: Storage[]; sandboxPidns: boolean; sandboxId: string; guestHookPath: string; kernelModules: KernelModule[] }
export type DestroySandboxRequest = Record<never, never>;
export type RemoveStaleVirtiofsShareMountsRequest = Record<never, never>;
export interface Interfaces { interfaces: Interface[] }
export interface Routes { routes: Route[] }
export interface UpdateInterfaceRequest { interface?: Interface }
export interface UpdateRoutesRequest { routes?: Routes }
export interface UpdateEphemeralMountsRequest { storages: Storage[] }
export type ListInterfacesRequest = Record<never, never>;
export type ListRoutesRequest = Record<never, never>;
export interface ARPNeighbors { arpNeighbors: ARPNeighbor[] }
export interface AddARPNeighborsRequest { neighbors?: ARPNeighbors }
export interface GetIPTablesRequest { isIpv6: boolean }
export interface GetIPTablesResponse { data: Uint8Array }
export interface SetIPTablesRequest { isIpv6: boolean; data: Uint8Array }
export interface SetIPTablesResponse { data: Uint8Array }
export interface OnlineCPUMemRequest { wait: boolean; nbCpus: number; cpuOnly: boolean }
export interface ReseedRandomDevRequest { data: Uint8Array }
export interface AgentDetails { version: string; initDaemon: boolean; deviceHandlers: string[]; storageHandlers: string[]; supportsSeccomp: boolean; extraFeatures: string[] }
export interface GuestDetailsRequest { memBlockSize: boolean; memHotplugProbe: boolean }
export interface GuestDetailsResponse { memBlockSizeBytes: number; agentDetails?: AgentDetails; supportMemHotplugProbe: boolean }
export interface MemHotplugByProbeRequest { memHotplugProbeAddr: number[] }
export interface SetGuestDateTimeRequest { sec: number; usec: number }
export interface FSGroup { groupId: number; groupChangePolicy: FSGroupChangePolicy }
export interface SharedMount { name: string; srcCtr: string; srcPath: string; dstCtr: string; dstPath: string }
export interface Storage { driver: string; driverOptions: string[]; source: string; fstype: string; options: string[]; mountPoint: string; fsGroup?: FSGroup; shared: boolean }
export interface Device { id: string; type: string; vmPath: string; containerPath: string; options: string[] }
export interface StringUser { uid: string; gid: string; additionalGids: string[] }
export interface CopyFileRequest { path: string; fileSize: number; fileMode: number; dirMode: number; uid: number; gid: number; offset: number; data: Uint8Array }
export type GetOOMEventRequest = Record<never, never>;
export interface OOMEvent { containerId: string }
export interface AddSwapRequest { pciPath: number[] }
export interface AddSwapPathRequest { path: string }
export type GetMetricsRequest = Record<never, never>;
export interface Metrics { metrics: string }
export interface VolumeStatsRequest { volumeGuestPath: string }
export interface ResizeVolumeRequest { volumeGuestPath: string; size: number }
export interface SetPolicyRequest { policy: string }
export interface GetDiagnosticDataRequest { logType: string; containerId: string }
export interface GetDiagnosticDataResponse { data: string }
export interface MemAgentMemcgConfig { disabled?: boolean; swap?: boolean; swappinessMax?: number; periodSecs?: number; periodPsiPercentLimit?: number; evictionPsiPercentLimit?: number; evictionRunAgingCountMin?: number }
export interface MemAgentCompactConfig { disabled?: boolean; periodSecs?: number; periodPsiPercentLimit?: number; compactPsiPercentLimit?: number; compactSecMax?: number; compactOrder?: number; compactThreshold?: number; compactForceTimes?: number }
export interface VolumeStatsResponse { usage: VolumeUsage[]; volumeCondition?: VolumeCondition }
export interface VolumeUsage { available: number; total: number; used: number; unit: VolumeUsageUnit }
export type VolumeUsageUnit = "UNKNOWN" | "BYTES" | "INODES";
export interface VolumeCondition { abnormal: boolean; message: string }
export interface Spec { ociVersion: string; process?: Process; root?: Root; hostname: string; mounts: Mount[]; hooks?: Hooks; annotations: Record<string, string>; linux?: Linux; solaris?: Solaris; windows?: Windows }
export interface Process { terminal: boolean; consoleSize?: Box; user?: User; args: string[]; env: string[]; cwd: string; capabilities?: LinuxCapabilities; rlimits: POSIXRlimit[]; noNewPrivileges: boolean; apparmorProfile: string; oomScoreAdj: number; selinuxLabel: string }
export interface Box { height: number; width: number }
export interface User { uid: number; gid: number; additionalGids: number[]; username: string }
export interface LinuxCapabilities { bounding: string[]; effective: string[]; inheritable: string[]; permitted: string[]; ambient: string[] }
export interface POSIXRlimit { type: string; hard: number; soft: number }
export interface Mount { destination: string; source: string; type: string; options: string[] }
export interface Root { path: string; readonly: boolean }
export interface Hooks { prestart: Hook[]; poststart: Hook[]; poststop: Hook[]; createRuntime: Hook[]; createContainer: Hook[]; startContainer: Hook[] }
export interface Hook { path: string; args: string[]; env: string[]; timeout: number }
export interface Linux { uidMappings: LinuxIDMapping[]; gidMappings: LinuxIDMapping[]; sysctl: Record<string, string>; resources?: LinuxResources; cgroupsPath: string; namespaces: LinuxNamespace[]; devices: LinuxDevice[]; seccomp?: LinuxSeccomp; rootfsPropagation: string; maskedPaths: string[]; readonlyPaths: string[]; mountLabel: string; intelRdt?: LinuxIntelRdt }
export interface Windows { dummy: string }
export interface Solaris { dummy: string }
export interface LinuxIDMapping { hostID: number; containerID: number; size: number }
export interface LinuxNamespace { type: string; path: string }
export interface LinuxDevice { path: string; type: string; major: number; minor: number; fileMode: number; uid: number; gid: number }
export interface LinuxResources { devices: LinuxDeviceCgroup[]; memory?: LinuxMemory; cpu?: LinuxCPU; pids?: LinuxPids; blockIO?: LinuxBlockIO; hugepageLimits: LinuxHugepageLimit[]; network?: LinuxNetwork }
export interface LinuxMemory { limit: number; reservation: number; swap: number; kernel: number; kernelTCP: number; swappiness: number; disableOOMKiller: boolean }
export interface LinuxCPU { shares: number; quota: number; period: number; realtimeRuntime: number; realtimePeriod: number; cpus: string; mems: string }
export interface LinuxWeightDevice { major: number; minor: number; weight: number; leafWeight: number }
export interface LinuxThrottleDevice { major: number; minor: number; rate: number }
export interface LinuxBlockIO { weight: number; leafWeight: number; weightDevice: LinuxWeightDevice[]; throttleReadBpsDevice: LinuxThrottleDevice[]; throttleWriteBpsDevice: LinuxThrottleDevice[]; throttleReadIOPSDevice: LinuxThrottleDevice[]; throttleWriteIOPSDevice: LinuxThrottleDevice[] }
export interface LinuxPids { limit: number }
export interface LinuxDeviceCgroup { allow: boolean; type: string; major: number; minor: number; access: string }
export interface LinuxNetwork { classID: number; priorities: LinuxInterfacePriority[] }
export interface LinuxHugepageLimit { pageSize: string; limit: number }
export interface LinuxInterfacePriority { name: string; priority: number }
export interface LinuxSeccomp { defaultAction: string; architectures: string[]; flags: string[]; syscalls: LinuxSyscall[] }
export interface LinuxSeccompArg { index: number; value: number; valueTwo: number; op: string }
export interface LinuxSyscall { names: string[]; action: string; errnoRet?: number; args: LinuxSeccompArg[] }
export interface LinuxIntelRdt { l3CacheSchema: string }
export interface CheckRequest { service: string }
export interface HealthCheckResponse { status: HealthCheckResponseServingStatus }
export type HealthCheckResponseServingStatus = "UNKNOWN" | "SERVING" | "NOT_SERVING";
export interface VersionCheckResponse { grpcVersion: string; agentVersion: string }
export type Empty = Record<never, never>;
export type IPFamily = "v4" | "v6";
export type FSGroupChangePolicy = "Always" | "OnRootMismatch";
export interface IPAddress { family: IPFamily; address: string; mask: string }
export interface Interface { device: string; name: string; ipAddresses: IPAddress[]; mtu: number; hwAddr: string; devicePath: string; type: string; rawFlags: number }
export interface Route { dest: string; gateway: string; device: string; source: string; scope: number; family: IPFamily; flags: number; mtu: number }
export interface ARPNeighbor { toIPAddress?: IPAddress; device: string; lladdr: string; state: number; flags: number }
export interface Request { service: string; method: string; payload: Uint8Array; timeoutNano: number; metadata: KeyValue[] }
export interface KeyValue { key: string; value: string }
export interface Response { status?: Status; payload: Uint8Array }
export interface Status { code: number; message: string }

/** Request and response of every call. */
export interface Calls {
  CreateContainer: { request: CreateContainerRequest; response: Empty };
  StartContainer: { request: StartContainerRequest; response: Empty };
  RemoveContainer: { request: RemoveContainerRequest; response: Empty };
  ExecProcess: { request: ExecProcessRequest; response: Empty };
  SignalProcess: { request: SignalProcessRequest; response: Empty };
  WaitProcess: { request: WaitProcessRequest; response: WaitProcessResponse };
  UpdateContainer: { request: UpdateContainerRequest; response: Empty };
  UpdateEphemeralMounts: { request: UpdateEphemeralMountsRequest; response: Empty };
  StatsContainer: { request: StatsContainerRequest; response: StatsContainerResponse };
  PauseContainer: { request: PauseContainerRequest; response: Empty };
  ResumeContainer: { request: ResumeContainerRequest; response: Empty };
  RemoveStaleVirtiofsShareMounts: { request: RemoveStaleVirtiofsShareMountsRequest; response: Empty };
  GetDiagnosticData: { request: GetDiagnosticDataRequest; response: GetDiagnosticDataResponse };
  WriteStdin: { request: WriteStreamRequest; response: WriteStreamResponse };
  ReadStdout: { request: ReadStreamRequest; response: ReadStreamResponse };
  ReadStderr: { request: ReadStreamRequest; response: ReadStreamResponse };
  CloseStdin: { request: CloseStdinRequest; response: Empty };
  TtyWinResize: { request: TtyWinResizeRequest; response: Empty };
  UpdateInterface: { request: UpdateInterfaceRequest; response: Interface };
  UpdateRoutes: { request: UpdateRoutesRequest; response: Routes };
  ListInterfaces: { request: ListInterfacesRequest; response: Interfaces };
  ListRoutes: { request: ListRoutesRequest; response: Routes };
  AddARPNeighbors: { request: AddARPNeighborsRequest; response: Empty };
  GetIPTables: { request: GetIPTablesRequest; response: GetIPTablesResponse };
  SetIPTables: { request: SetIPTablesRequest; response: SetIPTablesResponse };
  GetMetrics: { request: GetMetricsRequest; response: Metrics };
  MemAgentMemcgSet: { request: MemAgentMemcgConfig; response: Empty };
  MemAgentCompactSet: { request: MemAgentCompactConfig; response: Empty };
  CreateSandbox: { request: CreateSandboxRequest; response: Empty };
  DestroySandbox: { request: DestroySandboxRequest; response: Empty };
  OnlineCPUMem: { request: OnlineCPUMemRequest; response: Empty };
  ReseedRandomDev: { request: ReseedRandomDevRequest; response: Empty };
  GetGuestDetails: { request: GuestDetailsRequest; response: GuestDetailsResponse };
  MemHotplugByProbe: { request: MemHotplugByProbeRequest; response: Empty };
  SetGuestDateTime: { request: SetGuestDateTimeRequest; response: Empty };
  CopyFile: { request: CopyFileRequest; response: Empty };
  GetOOMEvent: { request: GetOOMEventRequest; response: OOMEvent };
  AddSwap: { request: AddSwapRequest; response: Empty };
  AddSwapPath: { request: AddSwapPathRequest; response: Empty };
  GetVolumeStats: { request: VolumeStatsRequest; response: VolumeStatsResponse };
  ResizeVolume: { request: ResizeVolumeRequest; response: Empty };
  SetPolicy: { request: SetPolicyRequest; response: Empty };
  Check: { request: CheckRequest; response: HealthCheckResponse };
  Version: { request: CheckRequest; response: VersionCheckResponse };
}
