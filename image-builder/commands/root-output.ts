// Owns what the commands `initrd` and `image` share: the root's nodes, the fixed time, the cache, the file that comes out and its
// section in the manifest. Must never know a format.
import { basename, dirname, join, resolve } from "node:path";
import { cached, type Entry } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import type { Json } from "../lib/hash.js";
import { writeSection } from "../lib/manifest.js";
import { publish } from "../lib/publish.js";
import { stageModules } from "../steps/stage-modules.js";
import { stageRoot, type Root } from "../steps/stage-root.js";

export interface RootOutputOptions {
  readonly agent: string;
  readonly rootfs: string;
  readonly output: string;
  readonly arch: string;
  /** Where the kernel's modules are; none when not given. */
  readonly modules?: string;
  readonly module?: readonly string[];
}

/** 1980-01-01, unless SOURCE_DATE_EPOCH says otherwise: every file's time in what is built. */
export function fixedTime(env: NodeJS.ProcessEnv = process.env): number {
  const given = env["SOURCE_DATE_EPOCH"];
  if (given === undefined || given === "") return 315_532_800;
  const time = Number(given);
  if (!Number.isInteger(time) || time < 1 || time > 0xffffffff) throw new BuildError("usage", `SOURCE_DATE_EPOCH=${given} is not a time in seconds since 1970`, "unset it or give a whole number");
  return time;
}

/**
 * Builds one file of the guest's root: `make` writes it from the nodes, `how` is what beside the nodes decides its bytes. The
 * answer is what --json prints.
 */
export async function rootOutput(context: Context, kind: "initrd" | "image", options: RootOutputOptions, how: Json,
  make: (root: Root, file: string, mtime: number) => Promise<void>): Promise<Json> {
  const mtime = fixedTime();
  const list = join(context.root, "kernel-configs/modules.txt");
  const more = await stageModules(context, { modules: options.modules ?? "none", module: options.module ?? [], list, output: options.output });
  const root = await stageRoot({ rootfs: options.rootfs, agent: options.agent, arch: options.arch, more });
  const inputs: Json = { how, mtime, nodes: root.inputs };
  const entry = await cached(context, kind, inputs, ["file"], (dir) => make(root, join(dir, "file"), mtime));
  const output = resolve(options.output);
  const sum = entry.files["file"] as Entry["files"][string];
  const changed = await publish(join(entry.dir, "file"), output, sum);
  if (dirname(output) === context.dist) await record(context, context.dist, kind, options, root, { key: entry.key, inputs, name: basename(output), sum });
  context.progress.note(`${kind}: ${options.output} ${sum.bytes} bytes, ${entry.cached ? "nothing to rebuild" : "built"}${changed ? "" : ", file unchanged"}`);
  return { key: entry.key, cached: entry.cached, changed, output, bytes: sum.bytes, sha256: sum.sha256, how };
}

async function record(context: Context, dist: string, kind: string, options: RootOutputOptions, root: Root,
  built: { readonly key: string; readonly inputs: Json; readonly name: string; readonly sum: Entry["files"][string] }): Promise<void> {
  const standard = built.name === (kind === "initrd" ? "initrd.img" : "rootfs.img");
  await writeSection(context, dist, standard ? kind : built.name, { key: built.key, inputs: built.inputs, outputs: { [built.name]: built.sum } });
  if (resolve(options.agent) === join(dist, "kata-agent")) {
    await writeSection(context, dist, "agent", { key: root.agent.sha256, inputs: {}, outputs: { "kata-agent": root.agent } });
  }
}
