// A reporter that ends a run with the list of what was left out: tests and suites tell the reason in their names ("(skipped: ...)").
import { relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

const REASON = " (skipped: ";

/** A line for each suite or test that was left out with a reason, and how many tests each is. */
export function leftOut(skipped: readonly { readonly file: string; readonly suite: string; readonly name: string }[]): string[] {
  const counts = new Map<string, number>();
  for (const { file, suite, name } of skipped) {
    const what = suite.includes(REASON) ? suite : name;
    const line = `${file}: ${what}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].map(([line, n]) => (n === 1 ? line : `${line}: ${n} tests`));
}

export default class LeftOut implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests("skipped")].map((test) => ({
      file: relative(process.cwd(), module.moduleId), suite: test.parent.type === "suite" ? test.parent.fullName : "", name: test.fullName,
    }))).filter(({ name }) => name.includes(REASON)); // the others are those that a pattern of the command line has left out
    if (skipped.length > 0) process.stdout.write(`\n${skipped.length} tests were left out:\n${leftOut(skipped).map((line) => `  ${line}\n`).join("")}`);
  }
}
