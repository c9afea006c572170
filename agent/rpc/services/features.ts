// What belongs to features that this agent is built without; hosts know these answers (agent-api 10.8, 10.18, 10.19).
import { AppError } from "../../lib/errors.js";
import type { Handlers } from "../methods.js";

const withoutMemAgent = (): never => {
  throw new AppError("internal", "mem-agent is disabled");
};

export const features: Handlers<"features"> = {
  MemAgentMemcgSet: withoutMemAgent,
  MemAgentCompactSet: withoutMemAgent,
  ResizeVolume: () => {
    throw new AppError("unimplemented", '"resize_volume is not implemented in kata-agent"');
  },
  SetPolicy: () => {
    throw new AppError("not-found", "/grpc.AgentService/SetPolicy is not supported");
  },
};
