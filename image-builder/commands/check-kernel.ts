// Owns `kernel --check`: a configuration from wherever a kernel keeps it, and which features of the agent would not work on that kernel.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { packingOf, unpacked } from "../formats/decompress.js";
import { readKernelImage } from "../formats/kernel-image.js";
import { scratch } from "../lib/cache.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import type { Json } from "../lib/hash.js";
import { findKernel } from "../steps/find-kernel.js";
import { judge, type Verdict } from "../steps/kernel-features.js";
import { kernelPackage } from "../steps/kernel-package.js";

const HINT = "--check takes a configuration (also packed, as /proc/config.gz), a kernel with CONFIG_IKCONFIG, a package (.deb or debian) or a folder with a kernel";

/** The answer is what --json prints; `report` is what a person reads. */
export async function checkKernel(context: Context, what: string): Promise<Json> {
  const verdict = judge(await configOf(context, what));
  return { checked: what, works: !verdict.broken.some((b) => b.must), ...(verdict as unknown as { readonly [key: string]: Json }), report: tell(what, verdict) };
}

async function configOf(context: Context, what: string): Promise<string> {
  const st = what === "debian" ? undefined : await stat(what).catch(() => {
    throw new BuildError("missing", `${what} does not exist`, HINT);
  });
  if (st === undefined || st.isDirectory() || what.endsWith(".deb")) return fromPackage(context, what);
  const bytes = await readFile(what);
  const plain = packingOf(bytes) === "none" ? bytes : await unpacked(bytes, context.signal).catch(() => bytes);
  const text = plain.toString("latin1");
  if (/^(# )?CONFIG_\w+[= ]/m.test(text) && !text.includes("\0")) return text;
  const { config } = await readKernelImage(what, bytes, context.signal).catch((error: unknown) => {
    if (error instanceof BuildError && error.failure === "missing") throw new BuildError("missing", `${what} is neither a kernel's configuration nor a kernel`, HINT, { cause: error });
    throw error;
  });
  if (config === undefined) throw new BuildError("missing", `the kernel ${what} does not hold its configuration (CONFIG_IKCONFIG)`, HINT);
  return config;
}

function fromPackage(context: Context, what: string): Promise<string> {
  return scratch(context, "kernel", async (dir) => {
    const source = await kernelPackage(context, [what], () => Promise.resolve(false));
    const { config } = await findKernel(context, await source.unpack(join(dir, "unpacked")), what);
    if (config === undefined) throw new BuildError("missing", `${what} holds no configuration of its kernel`, HINT);
    return config;
  });
}

function tell(what: string, { version, broken, modules }: Verdict): string {
  const lines = broken.map(({ feature, must, missing }) => `${must ? "NEEDED " : ""}${feature}: ${missing.join(", ")}`);
  return [
    `${what}${version === "" ? "" : ` (Linux ${version})`}: ${lines.length === 0 ? "everything works" : `${lines.length} features would not work, for want of these symbols`}`,
    ...lines.map((line) => `  ${line}`),
    ...(modules.length === 0 ? [] : [`${modules.length} of the symbols are modules: the guest's root has to hold them (initrd --modules)`]),
    "",
  ].join("\n");
}
