// Owns the command `agent`: what the command line says to a build, and what is told of the result. The build is in agent/.
import { relative } from "node:path";
import { distFile } from "../../tools/places.js";
import { buildAgent } from "../agent/build.js";
import { ARCHES } from "../agent/libseccomp.js";
import type { Context } from "../lib/context.js";
import { BuildError } from "../lib/errors.js";
import type { Json } from "../lib/hash.js";

export interface AgentOptions {
  readonly debug?: boolean;
  readonly arch: string;
  readonly entry?: string;
  readonly output?: string;
  readonly quickjs?: string;
  readonly libseccomp?: string;
}

/** Runs the command; the returned value is what --json prints. */
export async function agent(context: Context, options: AgentOptions): Promise<Json> {
  if (!ARCHES.includes(options.arch)) throw new BuildError("usage", `unknown architecture ${options.arch}`, `known: ${ARCHES.join(", ")}`);
  const debug = options.debug === true;
  const output = options.output ?? distFile(debug ? "kata-agent.debug" : "kata-agent");
  const built = await buildAgent(context, { debug, arch: options.arch, entry: options.entry, output, quickjs: options.quickjs, libseccomp: options.libseccomp });
  const sizes = Object.values(built.chunks);
  const bytecode = sizes.reduce((a, b) => a + b, 0);
  const loads = Object.entries(built.profiles).map(([name, bytes]) => `${name} ${bytes}`).join(", ");
  context.progress.note(`${relative(process.cwd(), output)}: ${built.bytes} bytes, of them ${bytecode} bytecode in ${sizes.length} modules; loaded: ${loads}${built.changed ? "" : "; file unchanged"}`);
  return { output, debug, ...built };
}
