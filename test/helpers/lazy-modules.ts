// A plugin for the tests on Node, where bytecode cannot be loaded by name: what a module of agent/ loads lazily from its own layer is
// imported instead. What it loads from another layer stays lazy, and is an error when it is called (fake-native.ts).
import { dirname, join, sep } from "node:path";
import type { Plugin } from "vite";
import { projectRoot } from "../../tools/places.js";

const AGENT = join(projectRoot, "agent") + sep;
const LAZY = /\blazy<typeof import\("(\.[^"]+)"\)>\("([^"]+)"\)/g;
const LOAD = /\bnative\.load\("([\w-]+__[\w-]+\.js)"\)/g;

/** The layer of a file below agent/, "oci" for oci/plan.ts. */
const layerOf = (path: string): string => path.split("/")[0] as string;

/** The source of `file` (its path below agent/) with imports for what it loads from its own layer; undefined when there is nothing of that. */
export const withImports = (file: string, source: string): string | undefined => {
  const imports: string[] = [];
  const module = (path: string): string => {
    const name = `lazyModule${imports.length}`;
    imports.push(`import * as ${name} from ${JSON.stringify(path)};`);
    return name;
  };
  const lazy = source.replace(LAZY, (all: string, path: string, name: string) => (layerOf(name) === layerOf(file) ? `(() => ${module(path)})` : all));
  const code = lazy.replace(LOAD, (all: string, flat: string) => {
    const [layer = "", name = ""] = flat.split("__");
    return layer === dirname(file) ? module(`./${name}`) : all;
  });
  return imports.length === 0 ? undefined : `${code}\n${imports.join("\n")}\n`; // behind the rest, so that lines keep their numbers
};

export const lazyModules = (): Plugin => ({
  name: "lazy-modules",
  enforce: "pre",
  transform(code, id) {
    const path = id.split("?")[0] as string;
    if (!path.startsWith(AGENT)) return undefined;
    const changed = withImports(path.slice(AGENT.length), code);
    return changed === undefined ? undefined : { code: changed, map: null };
  },
});
