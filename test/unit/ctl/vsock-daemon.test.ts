// Building the vsock daemon into the cache: once, whole or not at all. A script stands for cargo.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { buildVsockDaemon, findVsockDaemon } from "../../../ctl/vm/vsock-daemon.js";

let folder: string;
const saved = { PATH: process.env["PATH"], KATA_CACHE: process.env["KATA_CACHE"] };
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "daemon-"));
  process.env["KATA_CACHE"] = join(folder, "cache");
  process.env["PATH"] = `${folder}:${saved.PATH ?? ""}`;
});
afterEach(() => {
  process.env["PATH"] = saved.PATH;
  if (saved.KATA_CACHE === undefined) delete process.env["KATA_CACHE"];
  else process.env["KATA_CACHE"] = saved.KATA_CACHE;
  rmSync(folder, { recursive: true, force: true });
});

/** A cargo that notes each call and then does what `body` says; $root is the folder to install to. */
const cargo = (body: string): void => {
  writeFileSync(join(folder, "cargo"), `#!/bin/sh\necho "$@" >> ${folder}/calls\nwhile [ "$1" != --root ]; do shift; done; root=$2\n${body}\n`);
  chmodSync(join(folder, "cargo"), 0o755);
};
const GOOD = 'mkdir -p "$root/bin" "$root/target"; echo Compiling >&2; echo program > "$root/bin/vhost-device-vsock"; chmod +x "$root/bin/vhost-device-vsock"';
const tools = (): string[] => readdirSync(join(folder, "cache", "tools")).filter((name) => !name.endsWith(".lock"));

it("builds a pinned version once, also when two ask at the same time", async () => {
  cargo(GOOD);
  const lines: string[] = [];
  const [one, two] = await Promise.all([buildVsockDaemon((line) => lines.push(line)), buildVsockDaemon(() => undefined)]);
  expect(one).toBe(two);
  expect(findVsockDaemon()).toBe(one);
  expect(readFileSync(join(folder, "calls"), "utf8")).toMatch(/^install --locked --root \S+ --target-dir \S+ --version 0\.3\.0 vhost-device-vsock\n$/);
  expect(tools()).toEqual(["vhost-device-vsock-0.3.0"]);
  expect(existsSync(join(folder, "cache/tools/vhost-device-vsock-0.3.0/target"))).toBe(false);
});

it("leaves nothing when the build fails, and tells the compiler's words", async () => {
  cargo('mkdir -p "$root/bin"; echo "error: no space" >&2; exit 101');
  await expect(buildVsockDaemon(() => undefined)).rejects.toThrow(/could not be built \(cargo ended with 101\): error: no space/);
  expect(tools()).toEqual([]);
});

it("clears what a killed build left, and builds anew", async () => {
  mkdirSync(join(folder, "cache/tools/.half-vhost-device-vsock/bin"), { recursive: true });
  writeFileSync(join(folder, "cache/tools/.half-vhost-device-vsock/bin/stale"), "");
  cargo(GOOD);
  await buildVsockDaemon(() => undefined);
  expect(readdirSync(join(folder, "cache/tools/vhost-device-vsock-0.3.0/bin"))).toEqual(["vhost-device-vsock"]);
});
