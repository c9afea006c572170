// Values of the layers below as response messages, where they are not of that shape already. Pure.
import type { Stats } from "../engine/cgroup/stats.js";
import type { Init } from "./wire/encode.js";
import type { StatsContainerResponse } from "./gen/messages.js";

/** The answer to StatsContainer. A controller that is missing is absent; containers have no network of their own, so it has no figures. */
export function toStats(stats: Stats): Init<StatsContainerResponse> {
  return { cgroupStats: stats };
}
