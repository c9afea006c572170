// What a user namespace's maps say of an id. Source: user_namespaces(7), "User and group ID mappings".
import type { IdMapping } from "./spec.js";

/** The machine's number of a container's id; undefined when the maps have none. */
export function hostId(maps: readonly IdMapping[], id: number): number | undefined {
  const map = maps.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return map === undefined ? undefined : id - map.containerID + map.hostID;
}
