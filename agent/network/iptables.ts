// Packet filter rules as text, by the programs of the guest's image (iptables-save(8), iptables-restore(8)); agent-api 10.6.
import { exists } from "../sys/file.js";
import { AppError } from "../lib/errors.js";
import { command, type Finished } from "../lib/command.js";

const TIMEOUT_MS = 30_000;
const LOCK_WAIT_SECONDS = "5";

function program(name: string): string {
  const path = ["/usr/sbin/", "/sbin/"].map((dir) => dir + name).find(exists);
  if (path === undefined) throw new AppError("internal", `${name} is not in the guest's image (looked in /usr/sbin and /sbin)`);
  return path;
}

function succeeded(name: string, { status, stdout, stderr }: Finished): Uint8Array {
  if (status !== 0) throw new AppError("internal", `${name} failed with status ${status}: "${stderr.trim()}"`);
  return stdout;
}

const prefix = (v6: boolean): string => (v6 ? "ip6tables" : "iptables");

/** All tables, in the format of iptables-save. */
export async function getIpTables(v6: boolean): Promise<Uint8Array> {
  const name = `${prefix(v6)}-save`;
  return succeeded(name, await command([program(name)], { timeoutMs: TIMEOUT_MS }));
}

/** Replaces the tables that `rules` names; answers with the program's output. */
export async function setIpTables(v6: boolean, rules: Uint8Array): Promise<Uint8Array> {
  const name = `${prefix(v6)}-restore`;
  return succeeded(name, await command([program(name), "--wait", LOCK_WAIT_SECONDS], { input: rules, timeoutMs: TIMEOUT_MS }));
}
