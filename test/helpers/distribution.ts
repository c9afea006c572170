// The distribution's kernel for tests: fetched (or from the cache), with an initrd and a disk image of the agent that hold its modules.
// Each test makes its roots in a folder of its own, so that they may differ from one another.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { image } from "../../image-builder/commands/image.js";
import { initrd } from "../../image-builder/commands/initrd.js";
import { kernel } from "../../image-builder/commands/kernel.js";
import type { Context } from "../../image-builder/lib/context.js";
import { progress } from "../../image-builder/lib/progress.js";
import { cacheFolder, distFile, projectRoot } from "../../tools/places.js";

export interface Distribution {
  readonly folder: string;
  readonly release: string;
  /** lib/modules/RELEASE as the package has it. */
  readonly modules: string;
  readonly vmlinux: string;
  /** An initrd with the modules below `modules` (the package's), and `more` of them. */
  initrd(name: string, options?: { readonly modules?: string; readonly more?: readonly string[]; readonly agent?: string }): Promise<string>;
  image(name: string): Promise<string>;
  /** A copy of the package's modules, to be spoilt. */
  copy(name: string): string;
  remove(): void;
}

/** Fetches and unpacks it. Rejects with the builder's reason where it cannot be had. */
export async function distribution(): Promise<Distribution> {
  const folder = mkdtempSync(join(tmpdir(), "kata-distribution-"));
  try {
    const context: Context = { root: projectRoot, dist: folder, cache: cacheFolder(), progress: progress(true), signal: new AbortController().signal };
    const made = (await kernel(context, { from: ["debian"], arch: "x86_64", configs: join(projectRoot, "kernel-configs"), fragment: [], output: folder })) as { release: string };
    const modules = join(folder, "modules", made.release);
    const root = { agent: distFile("kata-agent"), rootfs: join(projectRoot, "rootfs"), arch: "x86_64" };
    return {
      folder, release: made.release, modules, vmlinux: join(folder, "vmlinux"),
      async initrd(name, options = {}) {
        const output = join(folder, name);
        await initrd(context, { ...root, agent: options.agent ?? root.agent, output, compress: "raw", modules: options.modules ?? modules, module: options.more ?? [] });
        return output;
      },
      async image(name) {
        const output = join(folder, name);
        await image(context, { ...root, output, fs: "erofs", modules });
        return output;
      },
      copy(name) {
        const to = join(folder, name, made.release);
        mkdirSync(join(folder, name), { recursive: true });
        cpSync(modules, to, { recursive: true });
        return to;
      },
      remove: () => rmSync(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Why the tests cannot run here; undefined when they can. */
export const agentMissing = (): string | undefined => (existsSync(distFile("kata-agent")) ? undefined : "dist/kata-agent has not been built");
