// `exec`: one more process in a container of a running VM.
import { randomUUID } from "node:crypto";
import { parseAddress } from "../client/address.js";
import type { Input } from "../client/agent-client.js";
import type { Process } from "../client/gen/messages.js";
import { connectAgent } from "../client/connect.js";
import { sizeOf } from "../container/attach.js";
import { mergeEnv } from "../container/plan.js";
import { findVm, type VmRecord } from "../vm/registry.js";
import { attend } from "./forward.js";
import { armInterrupt } from "./interrupt.js";

export interface ExecOptions {
  interactive?: boolean;
  tty?: boolean;
  env: string[];
  workdir: string;
  user: string;
  container?: string;
  address?: string;
}

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const idsOf = (user: string): { uid: number; gid: number } => {
  const match = /^(\d+)(?::(\d*))?$/.exec(user);
  if (!match) throw new Error(`bad user '${user}': exec takes numbers, UID or UID:GID`);
  return { uid: Number(match[1]), gid: Number(match[2] || match[1]) };
};

const targetOf = (name: string, options: ExecOptions): { address: string; container: string } => {
  if (options.address !== undefined) return { address: options.address, container: options.container ?? name };
  const vm: VmRecord = findVm(name);
  const container = options.container ?? vm.container;
  if (container === "") throw new Error(`VM '${name}' was booted without a container: name one with --container`);
  // The port is one stream: a second client would mix its bytes with those of the first.
  if (vm.transport === "serial" && vm.container !== "") throw new Error(`VM '${name}' is reached over virtio-serial, which has room for one client, and that is its \`run\`; run it with --transport vsock`);
  return { address: vm.address, container };
};

/** Run a command in a container; resolves with its exit status. `vm` is the name of the VM, or of the container with --address. */
export const execCommand = async (vm: string, command: string[], options: ExecOptions): Promise<number> => {
  const { address, container } = targetOf(vm, options);
  const client = await connectAgent(parseAddress(address));
  const execId = randomUUID();
  const process_: Input<Process> = {
    terminal: options.tty === true, user: idsOf(options.user), args: command, cwd: options.workdir,
    ...(options.tty === true ? sizeOf() : {}),
    env: mergeEnv([PATH, ...(options.tty === true ? ["TERM=xterm"] : [])], options.env),
  };
  const interrupt = armInterrupt();
  try {
    await client.execProcess({ containerId: container, execId, process: process_ });
    return await attend(client, { containerId: container, execId }, options, interrupt, false);
  } finally {
    interrupt.disarm();
    client.close();
  }
};
