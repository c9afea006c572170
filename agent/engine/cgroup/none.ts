// No control group at all: a container of a user who may make none. What a group would have to do is refused, what it would
// have to tell is nothing.
import { AppError } from "../../lib/errors.js";
import { lazy } from "../../lib/lazy.js";
import type { Apart } from "../members.js";
import type { Identity } from "../process-identity.js";
import type { Cgroup } from "./group.js";

const members = lazy<typeof import("../members.js")>("engine/members.js");

const refuse = (): never => {
  throw new AppError("precondition", "the container has no cgroup: it was made without the privileges for one");
};
const nothing = (): void => undefined;
const atOnce = (): Promise<void> => Promise.resolve();

export const NONE: Cgroup = {
  version: 2, path: "", madeParents: () => [], frozen: () => false, create: nothing, restrictDevices: nothing, dirFd: () => undefined, procsFiles: () => [], v1Mounts: () => undefined,
  sub: refuse, update: refuse, freeze: () => Promise.resolve().then(refuse), thaw: atOnce, pids: () => [], killAll: atOnce, fetch: atOnce, stats: () => ({ hugetlbStats: {} }), oomKills: () => undefined, watchOom: () => ({ told: 0, stop: nothing }), removeNow: () => undefined, remove: atOnce,
};

/** The same for a container that another process has made: its processes are found by its first one, as long as that lives. */
export const noGroup = (init: Identity, apart: Apart | undefined): Cgroup => ({
  ...NONE, pids: () => members().membersOf(init, apart), killAll: () => Promise.resolve().then(() => members().killMembers(init, apart)),
});
