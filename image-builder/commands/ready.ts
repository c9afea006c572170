// Owns the command `ready`: everything that a VM needs, of what is at hand. The agent is compiled while the kernel is fetched; the kernel is
// whichever `kernel --ready` takes, or the one that is named. Must never compile a kernel.
import { join } from "node:path";
import { distFile, distFolder, projectRoot } from "../../tools/places.js";
import type { Context } from "../lib/context.js";
import type { Json } from "../lib/hash.js";
import { together } from "../lib/together.js";
import { initrd } from "./initrd.js";
import { kernel } from "./kernel.js";

export interface ReadyOptions {
  /** The agent is to be compiled too. */
  readonly agent?: boolean;
  readonly from?: readonly string[];
  readonly arch: string;
}

/** Runs the command; the returned value is what --json prints. */
export async function ready(context: Context, { agent, from, arch }: ReadyOptions): Promise<Json> {
  const compiled = async (own: Context): Promise<Json> => {
    if (agent !== true) return null;
    const builder = await import("./agent.js"); // its bundlers take long to load
    return builder.agent(own, { arch });
  };
  const which = from === undefined ? { ready: true } : { from };
  const taken = (own: Context): Promise<Json> => kernel(own, { ...which, arch, configs: join(projectRoot, "kernel-configs"), fragment: [], output: distFolder });
  const [program, system] = await together(context, compiled, taken);
  const files = { agent: distFile("kata-agent"), rootfs: join(projectRoot, "rootfs"), output: distFile("initrd.img") };
  const root = await initrd(context, { ...files, arch, compress: "raw", modules: "auto", module: [] });
  return { agent: program, kernel: system, initrd: root };
}
