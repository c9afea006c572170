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

/** Registers every module; `end` is called when the sandbox has been destroyed and the agent is to go. */
export function registerServices(sandbox: Sandbox, end: () => void): void {
  serve(health);
  serveLazily("sandbox", () => life().sandboxLife(sandbox, end));
  serveLazily("container", () => container().containers(sandbox));
  serveLazily("stdio", () => stdio().stdio(sandbox));
  serveLazily("network", () => network().network(sandbox));
  serveLazily("guest", () => guest().guest(sandbox));
  serveLazily("features", () => features().features);
}
