// A container's group of the resource control file system: found or made before its first process is born, which is then put
// there. What was made here is removed with the container; a group that has a name of its own stays. (container-engine 1.16)
import { AT } from "../abi/flags.js";
import { SysError, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { mkdirat } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError, attempt, because } from "../lib/errors.js";
import { readText, statIf, writeText } from "../lib/fs.js";
import { listMounts } from "../lib/mountinfo.js";
import { differs, schemataOf } from "../oci/intel-rdt.js";
import type { IntelRdt } from "../oci/spec.js";
import type { ResctrlGroup } from "./container.js";

const FIELD = "linux.intelRdt";

/** Where resctrl is mounted. */
function mountPoint(): string {
  const mounted = listMounts().find(({ fstype }) => fstype === "resctrl");
  if (mounted === undefined) throw new AppError("invalid", `${FIELD}: resctrl is not mounted here`);
  return mounted.point;
}

function writeSchemata(root: string, path: string, wanted: readonly string[]): void {
  try {
    writeText(`${path}/schemata`, `${wanted.join("\n")}\n`);
  } catch (error) {
    let status = "";
    try {
      status = readText(`${root}/info/last_cmd_status`).trim();
    } catch {
      // an older kernel says no more than the errno
    }
    throw status === "" || status === "ok" ? error : because(status, error);
  }
}

/** Finds or makes the group of container `id`. Nothing that it made is left when it throws. */
export function openGroup(id: string, rdt: IntelRdt): ResctrlGroup {
  const root = mountPoint();
  const { closID } = rdt;
  const path = closID === "/" ? root : `${root}/${closID ?? id}`;
  const wanted = schemataOf(rdt);
  const there = statIf(path) !== undefined;
  const made: string[] = [];
  if (closID === undefined && there) throw new AppError("exists", `${FIELD}: ${path} is there already`);
  if (closID !== undefined && !there && wanted.length === 0) throw new AppError("invalid", `${FIELD}.closID: there is no group "${closID}"`);
  try {
    if (!there) {
      mkdirat(AT.FDCWD, path, 0o755);
      made.push(path);
      if (wanted.length > 0) writeSchemata(root, path, wanted);
    } else {
      const other = wanted.length === 0 ? undefined : differs(wanted, readText(`${path}/schemata`));
      if (other !== undefined) throw new AppError("invalid", `schemata: the group "${closID}" is there and does not have "${other}"`);
    }
    const monitored = rdt.enableMonitoring === true ? `${path}/mon_groups/${id}` : undefined;
    if (monitored !== undefined) {
      mkdirat(AT.FDCWD, monitored, 0o755);
      made.push(monitored);
    }
    return { made: made.filter((folder) => folder !== path || closID === undefined), folders: [path, ...(monitored === undefined ? [] : [monitored])] };
  } catch (error) {
    removeGroups(made);
    throw because(FIELD, error);
  }
}

/** Puts a process into a group. */
export function addToGroup({ folders }: ResctrlGroup, pid: number): void {
  for (const folder of folders) attempt(FIELD, () => writeText(`${folder}/tasks`, String(pid)));
}

/** Removes what was made of a group; what is gone already is no matter. Throws SysError. */
export function removeGroups(made: readonly string[]): void {
  for (const path of [...made].reverse()) {
    const r = sys(NR.unlinkat, AT.FDCWD, path, AT.REMOVEDIR);
    if (r < 0 && r !== -E.ENOENT) throw new SysError(`rmdir ${path}`, -r);
  }
}
