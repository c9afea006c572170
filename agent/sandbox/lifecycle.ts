// The sandbox's own beginning and end.
import { AppError, messageOf } from "../lib/errors.js";
import { lazy } from "../lib/lazy.js";
import { Level, log } from "../lib/log.js";
import type { AskedStorage } from "../storage/types.js";
import { removeAll } from "./remove-container.js";
import { ensureBase, type Sandbox } from "./sandbox.js";
import { dropSharedNamespaces, makeSharedNamespaces } from "./shared-ns.js";

const storage = lazy<typeof import("../storage/mount-all.js")>("storage/mount-all.js");
const owed = lazy<typeof import("../lib/owed.js")>("lib/owed.js");
const dns = lazy<typeof import("../network/dns.js")>("network/dns.js");
const modules = lazy<typeof import("./kernel-modules.js")>("sandbox/kernel-modules.js");

export interface SandboxArgs {
  readonly id: string;
  readonly hostname: string;
  readonly dns: readonly string[];
  readonly storages: readonly AskedStorage[];
  readonly kernelModules: readonly { readonly name: string; readonly parameters: readonly string[] }[];
}

/**
 * Begins the sandbox. While it has containers a second call is refused ("precondition") rather than disturb what runs; an
 * empty sandbox is made anew. A call that fails leaves nothing mounted and may be repeated.
 */
export async function createSandbox(sandbox: Sandbox, args: SandboxArgs): Promise<void> {
  if (sandbox.created && sandbox.entries.size > 0) throw new AppError("precondition", `sandbox ${sandbox.id} exists already and has containers`);
  if (sandbox.created) await reset(sandbox);
  sandbox.created = true;
  try {
    ensureBase();
    if (args.kernelModules.length > 0) await modules().loadKernelModules(args.kernelModules);
    sandbox.shared = makeSharedNamespaces(args.hostname);
    if (args.storages.length > 0) sandbox.mounts = await storage().mountAll(args.storages, { table: sandbox.storages, baseDir: "", hotplugTimeoutMs: sandbox.settings.hotplugTimeoutMs });
    sandbox.hasDns = args.dns.length > 0;
    if (sandbox.hasDns) dns().setDns(args.dns);
    if (args.id !== "") sandbox.id = args.id;
  } catch (error) {
    await reset(sandbox).catch((e: unknown) => log(Level.WARN, messageOf(e)));
    throw error;
  }
}

/** Lets go of everything that CreateSandbox made. Every part is tried; rejects with what stays and why, which is not forgotten. */
async function reset(sandbox: Sandbox): Promise<void> {
  const left: string[] = [];
  const tidy = async (step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      left.push(messageOf(error));
    }
  };
  const { shared } = sandbox;
  sandbox.shared = undefined;
  if (shared !== undefined) await tidy(() => dropSharedNamespaces(shared));
  if (sandbox.mounts.length > 0) await tidy(async () => {
    await storage().releaseAll(sandbox.mounts, sandbox.storages);
    sandbox.mounts = [];
  });
  await tidy(() => owed().paid());
  await tidy(() => storage().releaseRest(sandbox.storages)); // with what could not be released before
  if (sandbox.hasDns) await tidy(() => {
    dns().dropDns();
    sandbox.hasDns = false;
  });
  sandbox.pidNs?.close();
  sandbox.pidNs = undefined;
  sandbox.pidNsOf = "";
  if (left.length > 0) throw new AppError("internal", `end the sandbox: ${left.join("; ")}`);
  sandbox.created = false;
}

/** Ends the sandbox: containers first, then its storages and namespaces. While something lives or stays it rejects with the reason and may be repeated. */
export async function destroySandbox(sandbox: Sandbox): Promise<void> {
  await removeAll(sandbox);
  await reset(sandbox);
}
