// What the hooks of a configuration must be. Pure. (runtime-spec config.md, "POSIX-platform Hooks")
import { noNul, noNuls, refuse } from "./field.js";
import type { HookKind, Hooks } from "./spec.js";

/** All kinds, in the order in which they run. */
export const HOOK_KINDS: readonly HookKind[] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/** Throws AppError "invalid" naming the first field that is wrong; kinds that nobody knows are no hooks. */
export function checkHooks(hooks: Hooks): void {
  for (const kind of HOOK_KINDS) {
    hooks[kind]?.forEach(({ path, args, env, timeout }, i) => {
      const field = `hooks.${kind}[${i}]`;
      if (!path.startsWith("/")) refuse(`${field}.path`, `"${path}" is not an absolute path`);
      noNul(`${field}.path`, path);
      noNuls(`${field}.args`, args);
      noNuls(`${field}.env`, env);
      if (timeout !== undefined && !(timeout > 0)) refuse(`${field}.timeout`, `${timeout} is not above 0`);
    });
  }
}
