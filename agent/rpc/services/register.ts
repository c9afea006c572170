// Which methods there are, and which module answers them. All but the sign of life are loaded when one of them is first
// called: an agent that waits for its host holds no more than it needs to wait.
import { lazy } from "../../lib/lazy.js";
import { serve, serveLazily } from "../methods.js";
import { health } from "./health.js";
import type { Sandbox } from "../../sandbox/sandbox.js";

const life = lazy<typeof import("./sandbox.js")>("rpc/services/sandbox.js");
const container = lazy<typeof import("./container.js")>("rpc/services/container.js");
const stdio = lazy<typeof import("./stdio.js")>("rpc/services/stdio.js");
const network = lazy<typeof import("./network.js")>("rpc/services/network.js");
const guest = lazy<typeof import("./guest.js")>("rpc/services/guest.js");
const features = lazy<typeof import("./features.js")>("rpc/services/features.js");

/** Registers every method that is written; `end` is called when the sandbox has been destroyed and the agent is to go. */
export function registerServices(sandbox: Sandbox, end: () => void): void {
  serve(health);
  serveLazily(["CreateSandbox", "DestroySandbox"], () => life().sandboxLife(sandbox, end));
  serveLazily(
    ["CreateContainer", "StartContainer", "RemoveContainer", "ExecProcess", "SignalProcess", "WaitProcess", "UpdateContainer", "StatsContainer", "PauseContainer", "ResumeContainer", "GetOOMEvent", "GetDiagnosticData"],
    () => container().containers(sandbox),
  );
  serveLazily(["WriteStdin", "ReadStdout", "ReadStderr", "CloseStdin", "TtyWinResize"], () => stdio().stdio(sandbox));
  serveLazily(["UpdateInterface", "UpdateRoutes", "ListInterfaces", "ListRoutes", "AddARPNeighbors", "GetIPTables", "SetIPTables"], () => network().network(sandbox));
  serveLazily(
    ["OnlineCPUMem", "MemHotplugByProbe", "GetGuestDetails", "ReseedRandomDev", "SetGuestDateTime", "GetVolumeStats", "AddSwap", "AddSwapPath", "CopyFile", "UpdateEphemeralMounts", "RemoveStaleVirtiofsShareMounts"],
    () => guest().guest(sandbox),
  );
  serveLazily(["MemAgentMemcgSet", "MemAgentCompactSet", "ResizeVolume", "SetPolicy"], () => features().features);
}
