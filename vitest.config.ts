import { defineConfig } from "vitest/config";
import { lazyModules } from "./test/helpers/lazy-modules.js";

// One project for each kind of test. host and vm start processes of their own and run one file at a time. The times are for what hangs on
// a machine that is busy with much else: no test measures by them.
const project = (name: string, extra: object = {}): object => ({
  plugins: [lazyModules()],
  test: { name, include: [`test/${name}/**/*.test.ts`], environment: "node", setupFiles: ["test/helpers/fake-native.ts"], define: {}, expect: { poll: { timeout: 60_000 } }, ...extra },
  define: { __ARCH__: '"x86_64"', __VERSION__: '"0.0.0"', __COMMIT__: '"unknown"', __DEBUG__: "true", __STUB__: '"code"' },
});

export default defineConfig({
  test: {
    reporters: ["default", "test/helpers/left-out.ts"],
    projects: [
      project("unit", { testTimeout: 120_000 }),
      project("rules", { testTimeout: 240_000 }),
      project("fuzz", { testTimeout: 240_000 }),
      project("host", { testTimeout: 240_000, hookTimeout: 240_000, fileParallelism: false }),
      project("vm", { testTimeout: 600_000, hookTimeout: 600_000, fileParallelism: false }),
    ] as never,
  },
});
