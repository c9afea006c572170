// What the tests of the image builder share: a context with its own cache, a kernel tree that "compiles" in a moment, a smallest
// static program, and the real command line as a child process.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Context } from "../../../image-builder/lib/context.js";
import { progress } from "../../../image-builder/lib/progress.js";
import { projectRoot } from "../../../tools/places.js";

const temps: string[] = [];

/** A folder that removeTemps takes away. */
export function temp(): string {
  const path = mkdtempSync(join(tmpdir(), "image-builder-test-"));
  temps.push(path);
  return path;
}

export function removeTemps(): void {
  for (const path of temps.splice(0)) rmSync(path, { recursive: true, force: true });
}

/** A quiet context whose project is `root` (for dist and the manifest) and whose cache is its own. */
export function context(root: string = temp(), cache: string = join(temp(), "cache"), signal: AbortSignal = new AbortController().signal): Context {
  return { root, dist: join(root, "dist"), cache, signal, progress: progress(true) };
}

export function write(path: string, text: string | Uint8Array, mode = 0o644): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

/** A static x86_64 ELF executable with one loaded segment and `payload` behind it; it is never run. */
export function staticProgram(payload: string | Uint8Array = "", change: (bytes: Buffer) => void = () => undefined): Buffer {
  const head = Buffer.alloc(64 + 56);
  head.write("\x7fELF\x02\x01\x01", "latin1");
  head.writeUInt16LE(2, 16);
  head.writeUInt16LE(62, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeUInt32LE(1, 64);
  head.writeBigUInt64LE(BigInt(head.length), 64 + 32);
  change(head);
  return Buffer.concat([head, Buffer.from(payload)]);
}

export interface FakeKernel {
  /** Symbols the tree knows; everything else asked for is lost. */
  readonly known: readonly string[];
  /** Shell lines run by the image target before the result is written. */
  readonly compile?: string;
  /** Shell lines whose output goes into bzImage beside the configuration. */
  readonly extra?: string;
}

/** A folder that answers to `make allnoconfig` and `make bzImage` as a kernel tree does; each compile adds a line to `count`. */
export function fakeKernel(count: string, fake: FakeKernel): string {
  const tree = temp();
  write(join(tree, "Kconfig"), fake.known.map((s) => `config ${s}\n\tbool "${s}"\n`).join(""));
  write(join(tree, "Makefile"), [
    ".PHONY: allnoconfig bzImage",
    "allnoconfig:",
    `\t@grep -E '^(# )?CONFIG_(${fake.known.join("|")})[= ]' "$$KCONFIG_ALLCONFIG" > $(O)/.config || true`,
    "bzImage:",
    `\t@echo x >> ${count}`,
    "\t@echo '  CC      init/main.o'",
    ...(fake.compile ?? "").split("\n").filter((l) => l !== "").map((l) => `\t@${l}`),
    "\t@mkdir -p $(O)/arch/x86/boot",
    "\t@cp /bin/true $(O)/vmlinux",
    `\t@{ cat $(O)/.config; echo "$$KBUILD_BUILD_TIMESTAMP $$KBUILD_BUILD_VERSION"; ${fake.extra ?? "true"}; } > $(O)/arch/x86/boot/bzImage`,
    "",
  ].join("\n"));
  return tree;
}

/** A folder laid out as kernel-configs/ is. */
export function configs(common: string, x86 = "", allow = ""): string {
  const dir = temp();
  write(join(dir, "common/a.conf"), common);
  write(join(dir, "x86_64/b.conf"), x86);
  if (allow !== "") write(join(dir, "allow-missing.txt"), allow);
  return dir;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the real command line. */
export function startCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const child = spawn(process.execPath, ["--import", "tsx", join(projectRoot, "image-builder/main.ts"), ...args], { cwd: projectRoot, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (d: Buffer) => { stdout += d.toString(); });
  child.stderr?.on("data", (d: Buffer) => { stderr += d.toString(); });
  return { child, ended: new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) => done({ code, stdout, stderr }));
  }) };
}

export const cli = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> => startCli(args, env).ended;

/** Names in a cache folder that are neither entries nor known bookkeeping: what a failed build forgot. */
export function leftovers(cache: string, kind: string): string[] {
  try {
    return readdirSync(join(cache, kind)).filter((n) => !/^[0-9a-f]{64}$/.test(n));
  } catch {
    return [];
  }
}

export function entries(cache: string, kind: string): string[] {
  try {
    return readdirSync(join(cache, kind)).filter((n) => /^[0-9a-f]{64}$/.test(n));
  } catch {
    return [];
  }
}
