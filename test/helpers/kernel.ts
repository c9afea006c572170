// The kernel in dist, as its configuration beside it tells: what tests that run on whichever kernel is at hand need of it (suite.ts).
import { existsSync, readFileSync } from "node:fs";
import { parseConfig } from "../../image-builder/steps/kconfig.js";
import { FEATURES, judge } from "../../image-builder/steps/kernel-features.js";
import { distFile } from "../../tools/places.js";

const config = (): string => (existsSync(distFile("kernel.config")) ? readFileSync(distFile("kernel.config"), "utf8") : "");

/** A need: a kernel in dist with all these features, by their names in image-builder/steps/kernel-features.ts. */
export const kernelWith = (...features: readonly string[]) => (): string | undefined => {
  const unknown = features.find((name) => !FEATURES.some((feature) => feature.name === name));
  if (unknown !== undefined) throw new Error(`there is no feature "${unknown}"`);
  if (config() === "") return undefined;
  const { version, broken } = judge(config());
  const lack = broken.find(({ feature }) => features.includes(feature));
  if (lack === undefined) return undefined;
  return `the kernel in dist, ${version}, lacks ${lack.missing.join(", ")} for ${lack.feature}: make kernel compiles ours, which has it`;
};

/** A need: a kernel in dist without a symbol, for what is told where it has none. */
export const kernelWithout = (symbol: string) => (): string | undefined =>
  (["y", "m"].includes(parseConfig(config()).get(symbol) ?? "") ? `the kernel in dist has CONFIG_${symbol}` : undefined);

/** Does the kernel in dist need modules, so that a disk is entered through the initrd? Ours does not. */
export const hasModules = (): boolean => existsSync(distFile("modules"));

/** A need: our own kernel in dist. */
export const ourKernel = (): string | undefined => (hasModules() ? "the kernel in dist is a distribution's: make kernel compiles ours" : undefined);
