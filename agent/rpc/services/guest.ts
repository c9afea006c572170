// The guest as a whole: CPUs and memory, clock, random numbers, files, volumes, swap.
import { foreign } from "../../lib/foreign.js";
import { lazy } from "../../lib/lazy.js";
import { onlineCpuMem, probeMemory } from "../../devices/hotplug.js";
import type { Sandbox } from "../../sandbox/sandbox.js";
import type { Handlers } from "../methods.js";

const details = lazy<typeof import("../../sandbox/guest.js")>("sandbox/guest.js");
const files = lazy<typeof import("../../sandbox/copy-file.js")>("sandbox/copy-file.js");
const swap = lazy<typeof import("../../devices/swap.js")>("devices/swap.js");
const ephemeral = lazy<typeof import("../../storage/ephemeral-update.js")>("storage/ephemeral-update.js");
const shares = lazy<typeof import("../../storage/stale-shares.js")>("storage/stale-shares.js");
const volumes = lazy<typeof import("../../storage/volume-stats.js")>("storage/volume-stats.js");

/** The handlers of the guest; `sandbox` has its settings. */
export function guest(sandbox: Sandbox): Handlers<"guest"> {
  const { hotplugTimeoutMs, isInit } = sandbox.settings;
  return {
    OnlineCPUMem: ({ nbCpus, cpuOnly }) => onlineCpuMem(nbCpus, cpuOnly),
    MemHotplugByProbe: ({ memHotplugProbeAddr }) => probeMemory(memHotplugProbeAddr),
    GetGuestDetails: ({ memBlockSize, memHotplugProbe }) => details().guestDetails(isInit, memBlockSize, memHotplugProbe),
    ReseedRandomDev: ({ data }) => details().reseedRandom(data),
    SetGuestDateTime: ({ sec, usec }) => details().setDateTime(sec, usec),
    CopyFile: (request) => files().copyFile({ ...request, path: foreign(request.path) }),
    AddSwap: ({ pciPath }) => swap().addSwap(pciPath, hotplugTimeoutMs),
    AddSwapPath: ({ path }) => swap().addSwapPath(foreign(path)),
    UpdateEphemeralMounts: ({ storages }) => (storages.length > 0 ? ephemeral().updateEphemeralMounts(storages) : undefined),
    RemoveStaleVirtiofsShareMounts: () => shares().removeStaleShares(),
    GetVolumeStats: async ({ volumeGuestPath }) => ({ usage: await volumes().volumeStats(foreign(volumeGuestPath)), volumeCondition: { abnormal: false, message: "OK" } }),
  };
}
