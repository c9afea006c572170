// No control group at all: a container of a user who may make none. What a group would have to do is refused, what it would
// have to tell is nothing.
import { AppError } from "../../lib/errors.js";
import type { Cgroup } from "./group.js";

const refuse = (): never => {
  throw new AppError("precondition", "the container has no cgroup: it was made without the privileges for one");
};
const nothing = (): Promise<void> => Promise.resolve();

export const NONE: Cgroup = {
  version: 2, path: "", madeParents: () => [], frozen: () => false, create: nothing, restrictDevices: nothing, dirFd: () => undefined, procsFiles: () => [], v1Mounts: () => undefined,
  sub: refuse, update: refuse, freeze: () => Promise.resolve().then(refuse), thaw: nothing, pids: () => [], killAll: nothing, fetch: nothing, stats: () => ({ hugetlbStats: {} }), watchOom: () => () => undefined, removeNow: () => undefined, remove: nothing,
};
