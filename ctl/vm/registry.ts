// The list of running VMs: one small JSON file for each, written by the process that keeps the VM and removed by it.
// A file whose process is gone is an old one; readers skip and remove it.
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "../lifetime.js";
import { stateFolder } from "./places.js";

export interface VmRecord {
  name: string;
  /** The process that keeps the VM; SIGTERM to it ends the VM. */
  pid: number;
  /** Start time of that process as /proc/<pid>/stat has it, so that a reused pid is not mistaken for it. */
  started: string;
  qemuPid: number;
  address: string;
  transport: string;
  accel: string;
  machine: string;
  console: string;
  /** The container that `run` started in it, "" for a bare VM. */
  container: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{1,63}$/;

/** Throws Error unless `name` may name a VM or container: the agent's own rule, and short. */
export const checkName = (name: string): string => {
  if (!NAME.test(name)) throw new Error(`bad name '${name}': 2 to 64 letters, digits and . _ -, beginning with a letter or digit`);
  return name;
};

/** Start time of a process in clock ticks since boot; undefined when there is no such process. */
export const startTime = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
};

const fileOf = (name: string): string => join(stateFolder(), `${name}.json`);

const read = (file: string): VmRecord | undefined => {
  try {
    const record = JSON.parse(readFileSync(file, "utf8")) as VmRecord;
    return record.started === startTime(record.pid) ? record : undefined;
  } catch {
    return undefined;
  }
};

/** All VMs that run now. Old files are removed on the way. */
export const listVms = (): VmRecord[] => {
  const records: VmRecord[] = [];
  for (const entry of readdirSync(stateFolder()).sort()) {
    if (!entry.endsWith(".json")) continue;
    const file = join(stateFolder(), entry);
    const record = read(file);
    if (record === undefined) rmSync(file, { force: true });
    else records.push(record);
  }
  return records;
};

/** The VM of that name. Throws Error that names those there are. */
export const findVm = (name: string): VmRecord => {
  const all = listVms();
  const found = all.find((record) => record.name === name);
  if (found === undefined) throw new Error(`no VM '${name}' is running; running: ${all.map((record) => record.name).join(", ") || "none"}`);
  return found;
};

/** Throws Error when a running VM has that name already. */
export const claimName = (name: string): string => {
  if (listVms().some((record) => record.name === checkName(name))) throw new Error(`a VM '${name}' is running already`);
  return name;
};

/** Put a VM of this process on the list; the returned function takes it off. */
export const register = (record: Omit<VmRecord, "pid" | "started">): (() => void) => {
  const file = fileOf(record.name);
  const whole: VmRecord = { ...record, pid: process.pid, started: startTime(process.pid) ?? "" };
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(whole), { mode: 0o600 });
  renameSync(`${file}.${process.pid}`, file);
  const remove = (): void => rmSync(file, { force: true });
  const forget = atEnd(remove);
  return () => {
    remove();
    forget();
  };
};
