import { defineConfig } from "vitest/config";
import { lazyModules } from "./test/helpers/lazy-modules.js";

// One project for each kind of test. host and vm start processes of their own and run one file at a time.
const project = (name: string, extra: object = {}): object => ({
  plugins: [lazyModules()],
  test: { name, include: [`test/${name}/**/*.test.ts`], environment: "node", setupFiles: ["test/helpers/fake-native.ts"], define: {}, ...extra },
  define: { __ARCH__: '"x86_64"', __VERSION__: '"0.0.0"', __COMMIT__: '"unknown"', __DEBUG__: "true", __STUB__: '"code"' },
});

export default defineConfig({
  test: {
    reporters: ["default", "test/helpers/left-out.ts"],
    projects: [
      project("unit", { testTimeout: 60_000 }),
      project("rules", { testTimeout: 60_000 }),
      project("fuzz", { testTimeout: 60_000 }),
      project("host", { testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false }),
      project("vm", { testTimeout: 240_000, hookTimeout: 240_000, fileParallelism: false }),
    ] as never,
  },
});
