// Written by protos/gen.ts from the .proto files; do not edit. The format is told in rpc/wire/schema.ts and rpc/methods.ts.

export const TABLE =
  "\nCreateContainerRequest scontainerId sexecId mstringUser:StringUser *mdevices:Device#1024 *mstorages:Storage#1024 moci:Spec bsandboxPidns *msharedMounts:SharedMount ustdinPort ustdoutPort ustderrPort " +
  "\nStartContainerRequest scontainerId " +
  "\nRemoveContainerRequest scontainerId utimeout " +
  "\nExecProcessRequest scontainerId sexecId mstringUser:StringUser mprocess:Process ustdinPort ustdoutPort ustderrPort " +
  "\nSignalProcessRequest scontainerId sexecId usignal " +
  "\nWaitProcessRequest scontainerId sexecId " +
  "\nWaitProcessResponse istatus " +
  "\nUpdateContainerRequest scontainerId mresources:LinuxResources " +
  "\nStatsContainerRequest scontainerId " +
  "\nPauseContainerRequest scontainerId " +
  "\nResumeContainerRequest scontainerId " +
  "\nCpuUsage qtotalUsage *qpercpuUsage qusageInKernelmode qusageInUsermode " +
  "\nThrottlingData qperiods qthrottledPeriods qthrottledTime " +
  "\nCpuStats mcpuUsage:CpuUsage mthrottlingData:ThrottlingData " +
  "\nPidsStats qcurrent qlimit " +
  "\nMemoryData qusage qmaxUsage qfailcnt qlimit " +
  "\nMemoryStats qcache musage:MemoryData mswapUsage:MemoryData mkernelUsage:MemoryData buseHierarchy %qstats " +
  "\nBlkioStatsEntry qmajor qminor sop qvalue " +
  "\nBlkioStats *mioServiceBytesRecursive:BlkioStatsEntry *mioServicedRecursive:BlkioStatsEntry *mioQueuedRecursive:BlkioStatsEntry *mioServiceTimeRecursive:BlkioStatsEntry *mioWaitTimeRecursive:BlkioStatsEntry *mioMergedRecursive:BlkioStatsEntry *mioTimeRecursive:BlkioStatsEntry *msectorsRecursive:BlkioStatsEntry " +
  "\nHugetlbStats qusage qmaxUsage qfailcnt " +
  "\nCgroupStats mcpuStats:CpuStats mmemoryStats:MemoryStats mpidsStats:PidsStats mblkioStats:BlkioStats %mhugetlbStats:HugetlbStats " +
  "\nNetworkStats sname qrxBytes qrxPackets qrxErrors qrxDropped qtxBytes qtxPackets qtxErrors qtxDropped " +
  "\nStatsContainerResponse mcgroupStats:CgroupStats *mnetworkStats:NetworkStats " +
  "\nWriteStreamRequest scontainerId sexecId ydata " +
  "\nWriteStreamResponse ulen " +
  "\nReadStreamRequest scontainerId sexecId ulen " +
  "\nReadStreamResponse ydata " +
  "\nCloseStdinRequest scontainerId sexecId " +
  "\nTtyWinResizeRequest scontainerId sexecId urow ucolumn " +
  "\nKernelModule sname *sparameters#256 " +
  "\nCreateSandboxRequest shostname *sdns#256 *mstorages:Storage#1024 bsandboxPidns ssandboxId sguestHookPath *mkernelModules:KernelModule#256 " +
  "\nDestroySandboxRequest " +
  "\nRemoveStaleVirtiofsShareMountsRequest " +
  "\nInterfaces *minterfaces:Interface " +
  "\nRoutes *mroutes:Route#1024 " +
  "\nUpdateInterfaceRequest minterface:Interface " +
  "\nUpdateRoutesRequest mroutes:Routes " +
  "\nUpdateEphemeralMountsRequest *mstorages:Storage#1024 " +
  "\nListInterfacesRequest " +
  "\nListRoutesRequest " +
  "\nARPNeighbors *marpNeighbors:ARPNeighbor#1024 " +
  "\nAddARPNeighborsRequest mneighbors:ARPNeighbors " +
  "\nGetIPTablesRequest bisIpv6 " +
  "\nGetIPTablesResponse ydata " +
  "\nSetIPTablesRequest bisIpv6 ydata " +
  "\nSetIPTablesResponse ydata " +
  "\nOnlineCPUMemRequest bwait unbCpus bcpuOnly " +
  "\nReseedRandomDevRequest ydata=2 " +
  "\nAgentDetails sversion binitDaemon *sdeviceHandlers *sstorageHandlers bsupportsSeccomp *sextraFeatures " +
  "\nGuestDetailsRequest bmemBlockSize bmemHotplugProbe " +
  "\nGuestDetailsResponse qmemBlockSizeBytes magentDetails:AgentDetails bsupportMemHotplugProbe " +
  "\nMemHotplugByProbeRequest *qmemHotplugProbeAddr " +
  "\nSetGuestDateTimeRequest jsec jusec " +
  "\nFSGroup ugroupId=2 igroupChangePolicy " +
  "\nSharedMount sname ssrcCtr ssrcPath sdstCtr sdstPath " +
  "\nStorage sdriver *sdriverOptions#1024^0 ssource sfstype *soptions#1024 smountPoint mfsGroup:FSGroup bshared " +
  "\nDevice sid stype svmPath scontainerPath *soptions#1024 " +
  "\nStringUser suid sgid *sadditionalGids#1024 " +
  "\nCopyFileRequest spath^4096 jfileSize ufileMode udirMode iuid igid joffset ydata " +
  "\nGetOOMEventRequest " +
  "\nOOMEvent scontainerId " +
  "\nAddSwapRequest *upciPath#64 " +
  "\nAddSwapPathRequest spath " +
  "\nGetMetricsRequest " +
  "\nMetrics smetrics " +
  "\nVolumeStatsRequest svolumeGuestPath " +
  "\nResizeVolumeRequest svolumeGuestPath qsize " +
  "\nSetPolicyRequest spolicy^0 " +
  "\nGetDiagnosticDataRequest slogType scontainerId " +
  "\nGetDiagnosticDataResponse sdata " +
  "\nMemAgentMemcgConfig ?bdisabled ?bswap ?uswappinessMax ?qperiodSecs ?uperiodPsiPercentLimit ?uevictionPsiPercentLimit ?qevictionRunAgingCountMin " +
  "\nMemAgentCompactConfig ?bdisabled ?qperiodSecs ?uperiodPsiPercentLimit ?ucompactPsiPercentLimit ?jcompactSecMax ?ucompactOrder ?qcompactThreshold ?qcompactForceTimes " +
  "\nVolumeStatsResponse *musage:VolumeUsage mvolumeCondition:VolumeCondition " +
  "\nVolumeUsage qavailable qtotal qused iunit " +
  "\nVolumeCondition babnormal smessage " +
  "\nSpec sociVersion mprocess:Process mroot:Root shostname *mmounts:Mount mhooks:Hooks %sannotations^0 mlinux:Linux msolaris:Solaris mwindows:Windows " +
  "\nProcess bterminal mconsoleSize:Box muser:User *sargs#32768^0 *senv#32768^0 scwd mcapabilities:LinuxCapabilities *mrlimits:POSIXRlimit#64 bnoNewPrivileges sapparmorProfile joomScoreAdj sselinuxLabel " +
  "\nBox uheight uwidth " +
  "\nUser uuid ugid *uadditionalGids#8192 susername " +
  "\nLinuxCapabilities *sbounding#256 *seffective#256 *sinheritable#256 *spermitted#256 *sambient#256 " +
  "\nPOSIXRlimit stype whard wsoft " +
  "\nMount sdestination ssource stype *soptions#1024 " +
  "\nRoot spath breadonly " +
  "\nHooks *mprestart:Hook#256 *mpoststart:Hook#256 *mpoststop:Hook#256 *mcreateRuntime:Hook#256 *mcreateContainer:Hook#256 *mstartContainer:Hook#256 " +
  "\nHook spath *sargs#4096^0 *senv#4096^0 jtimeout " +
  "\nLinux *muidMappings:LinuxIDMapping#1024 *mgidMappings:LinuxIDMapping#1024 %ssysctl mresources:LinuxResources scgroupsPath *mnamespaces:LinuxNamespace#64 *mdevices:LinuxDevice mseccomp:LinuxSeccomp srootfsPropagation *smaskedPaths *sreadonlyPaths smountLabel mintelRdt:LinuxIntelRdt " +
  "\nWindows sdummy " +
  "\nSolaris sdummy " +
  "\nLinuxIDMapping uhostID ucontainerID usize " +
  "\nLinuxNamespace stype spath " +
  "\nLinuxDevice spath stype jmajor jminor ufileMode uuid ugid " +
  "\nLinuxResources *mdevices:LinuxDeviceCgroup#1024 mmemory:LinuxMemory mcpu:LinuxCPU mpids:LinuxPids mblockIO:LinuxBlockIO *mhugepageLimits:LinuxHugepageLimit#64 mnetwork:LinuxNetwork " +
  "\nLinuxMemory jlimit jreservation jswap jkernel jkernelTCP qswappiness bdisableOOMKiller " +
  "\nLinuxCPU qshares jquota qperiod jrealtimeRuntime qrealtimePeriod scpus smems " +
  "\nLinuxWeightDevice jmajor jminor uweight uleafWeight " +
  "\nLinuxThrottleDevice jmajor jminor qrate " +
  "\nLinuxBlockIO uweight uleafWeight *mweightDevice:LinuxWeightDevice *mthrottleReadBpsDevice:LinuxThrottleDevice *mthrottleWriteBpsDevice:LinuxThrottleDevice *mthrottleReadIOPSDevice:LinuxThrottleDevice *mthrottleWriteIOPSDevice:LinuxThrottleDevice " +
  "\nLinuxPids jlimit " +
  "\nLinuxDeviceCgroup ballow stype jmajor jminor saccess^64 " +
  "\nLinuxNetwork uclassID *mpriorities:LinuxInterfacePriority#1024 " +
  "\nLinuxHugepageLimit spageSize qlimit " +
  "\nLinuxInterfacePriority sname upriority " +
  "\nLinuxSeccomp sdefaultAction *sarchitectures#64 *sflags#16 *msyscalls:LinuxSyscall " +
  "\nLinuxSeccompArg qindex wvalue wvalueTwo sop " +
  "\nLinuxSyscall *snames#1024 saction ?uerrnoRet *margs:LinuxSeccompArg#64 " +
  "\nLinuxIntelRdt sl3CacheSchema " +
  "\nCheckRequest sservice^0 " +
  "\nHealthCheckResponse istatus " +
  "\nVersionCheckResponse sgrpcVersion sagentVersion " +
  "\nIPAddress ifamily saddress smask " +
  "\nInterface sdevice sname *mipAddresses:IPAddress#256 qmtu shwAddr sdevicePath stype urawFlags " +
  "\nRoute sdest sgateway sdevice ssource uscope ifamily uflags umtu " +
  "\nARPNeighbor mtoIPAddress:IPAddress sdevice slladdr istate iflags " +
  "\nRequest sservice smethod ypayload jtimeoutNano *mmetadata:KeyValue#256 " +
  "\nKeyValue skey svalue " +
  "\nResponse mstatus:Status ypayload " +
  "\nStatus icode smessage " +
  "\nEmpty \n";

export const METHODS =
  "\ngrpc.AgentService CreateContainer StartContainer RemoveContainer ExecProcess SignalProcess WaitProcess>WaitProcessResponse UpdateContainer UpdateEphemeralMounts StatsContainer>StatsContainerResponse PauseContainer ResumeContainer RemoveStaleVirtiofsShareMounts GetDiagnosticData>GetDiagnosticDataResponse WriteStdin:WriteStreamRequest>WriteStreamResponse ReadStdout:ReadStreamRequest>ReadStreamResponse ReadStderr:ReadStreamRequest>ReadStreamResponse CloseStdin TtyWinResize UpdateInterface>Interface UpdateRoutes>Routes ListInterfaces>Interfaces ListRoutes>Routes AddARPNeighbors GetIPTables>GetIPTablesResponse SetIPTables>SetIPTablesResponse GetMetrics>Metrics MemAgentMemcgSet:MemAgentMemcgConfig MemAgentCompactSet:MemAgentCompactConfig CreateSandbox DestroySandbox OnlineCPUMem ReseedRandomDev GetGuestDetails:GuestDetailsRequest>GuestDetailsResponse MemHotplugByProbe SetGuestDateTime CopyFile GetOOMEvent>OOMEvent AddSwap AddSwapPath GetVolumeStats:VolumeStatsRequest>VolumeStatsResponse ResizeVolume SetPolicy" +
  "\ngrpc.Health Check>HealthCheckResponse Version:CheckRequest>VersionCheckResponse";
