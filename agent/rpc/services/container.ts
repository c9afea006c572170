// The life of containers and their processes.
import { createContainer } from "../../sandbox/create-container.js";
import { removeContainer } from "../../sandbox/remove-container.js";
import { execProcess, pauseContainer, resumeContainer, signalProcess, startContainer, statsContainer, updateContainer, waitProcess } from "../../sandbox/containers.js";
import type { Sandbox } from "../../sandbox/sandbox.js";
import { AppError } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import { type Handlers, LATER } from "../methods.js";
import { toProcess, toResources, toSpec } from "../from-proto.js";
import { idleIn, tellIdle } from "../idle-fields.js";
import { toStats } from "../to-proto.js";

const diagnostics = lazy<typeof import("../../sandbox/diagnostics.js")>("sandbox/diagnostics.js");

/** The handlers of the containers of `sandbox` and their processes. */
export function containers(sandbox: Sandbox): Handlers<"container"> {
  const told = new WeakSet<object>(); // containers for whose further processes it has been said
  return {
    CreateContainer: async (request) => {
      if (request.oci === undefined) throw new AppError("internal", "EINVAL: CreateContainerRequest has no OCI spec");
      const { containerId: id } = request;
      const idle = idleIn("CreateContainer", request); // the request is not kept until it is done
      await createContainer(sandbox, { id, spec: toSpec(request.oci), storages: request.storages, devices: request.devices, sandboxPidns: request.sandboxPidns });
      tellIdle("CreateContainer", idle, id);
    },
    StartContainer: (request) => startContainer(sandbox, request.containerId),
    RemoveContainer: (request) => removeContainer(sandbox, request.containerId, request.timeout * 1000),
    ExecProcess: async (request, { connection }) => {
      if (request.process === undefined) throw new AppError("internal", "Unable to parse process from ExecProcessRequest");
      const { containerId: id } = request;
      const entry = sandbox.entries.get(id);
      const idle = entry === undefined || told.has(entry) ? [] : idleIn("ExecProcess", request);
      await execProcess(sandbox, id, request.execId, toProcess(request.process), connection);
      tellIdle("ExecProcess", idle, id);
      if (entry !== undefined && idle.length > 0) told.add(entry);
    },
    SignalProcess: (request) => signalProcess(sandbox, request.containerId, request.execId, request.signal | 0),
    WaitProcess: (request, call) => {
      call.onCancel = waitProcess(sandbox, request.containerId, request.execId, (status) => call.reply({ status }));
      return LATER;
    },
    UpdateContainer: (request) => updateContainer(sandbox, request.containerId, request.resources === undefined ? undefined : toResources(request.resources)),
    StatsContainer: (request) => toStats(statsContainer(sandbox, request.containerId)),
    PauseContainer: (request) => pauseContainer(sandbox, request.containerId),
    ResumeContainer: (request) => resumeContainer(sandbox, request.containerId),
    GetDiagnosticData: async ({ containerId, logType }) => ({ data: await diagnostics().diagnosticData(sandbox, containerId, logType) }),
    GetOOMEvent: (_request, call) => {
      call.onCancel = sandbox.oom.next((containerId) => call.reply({ containerId }));
      return LATER;
    },
  };
}
