// grpc.Health: the host's first call and its periodic sign of life. It must need no state and never wait.
import type { Handlers } from "../methods.js";

const SERVING = 1;
const API_VERSION = "0.0.1";
const serving = { status: SERVING };

export const health: Handlers<"health"> = {
  Check: () => serving,
  Version: () => ({ grpcVersion: API_VERSION, agentVersion: __VERSION__ }),
};
