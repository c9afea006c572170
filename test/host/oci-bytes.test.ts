// Names, arguments and variables that are not UTF-8: what comes in goes out byte for byte, and never names anything else.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Bundles } from "../helpers/oci-bundle.js";

let bundles: Bundles;
beforeAll(() => void (bundles = new Bundles()));
afterEach(() => bundles.removeAll());
afterAll(() => bundles.stop());

/** Node can only give text to a program: the shell makes the bytes. `\377` in a word is that byte. */
const command = (words: readonly string[], quiet = false): { status: number | null; stdout: Buffer; stderr: string } => {
  const quoted = (word: string): string => `"$(printf '%b.' '${word.replaceAll("\\", "\\0").replaceAll("'", "'\\''")}')"`;
  // The dot keeps line ends, and goes again.
  const all = words.map((word, i) => `a${i}=${quoted(word)}; a${i}=\${a${i}%.}`).join("\n");
  const used = words.map((_, i) => `"$a${i}"`).join(" ");
  // A container keeps the streams of the command that makes it.
  const { status, stdout, stderr } = spawnSync("dash", ["-c", `${all}\nexec ${used}`], { timeout: 120_000, stdio: ["ignore", ...(quiet ? (["ignore", "ignore"] as const) : (["pipe", "pipe"] as const))] });
  return { status, stdout: stdout ?? Buffer.alloc(0), stderr: stderr?.toString() ?? "" };
};

/** The bytes of a text that escapes them in octal. */
const raw = (text: string): Buffer => Buffer.from(text.replace(/\\(\d{3})/g, (_all, digits: string) => String.fromCharCode(parseInt(digits, 8))), "latin1");

it("exec passes arguments and variables on as they are, from a folder of PATH and a working directory that are no text", () => {
  const id = bundles.sleeper();
  execFileSync("dash", ["-c", `cd "$1"; for d in rootfs; do mkdir -p "$d/p$(printf '\\377')" && printf '#!/bin/sh\\nprintf "%%s|%%s|" "$1" "$V"; pwd' > "$d/p$(printf '\\377')/tool" && chmod 755 "$d/p$(printf '\\377')/tool"; done`, "dash", join(bundles.folder, readdirSync(bundles.folder).filter((name) => name.startsWith("bundle")).at(-1) ?? "")]);
  const words = bundles.words(["exec", "--env", "PATH=/p\\377:/bin", "--env", "V=\\200\\303\\251\\355\\262\\200", "--cwd", "/p\\377", id, "tool", "a\\351\\377 \\360\\237\\230\\200b"]);
  const { status, stdout, stderr } = command(words);
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toEqual(raw("a\\351\\377 \\360\\237\\230\\200b|\\200\\303\\251\\355\\262\\200|/p\\377\n"));
});

it("--root, --bundle and --pid-file name the folders and files they say", () => {
  const dir = bundles.make("sleep 1000");
  const odd = Buffer.concat([Buffer.from(`${bundles.folder}/odd`), raw("\\377\\344")]);
  execFileSync("dash", ["-c", `cp -r "$1" "$2$(printf '\\377\\344')"`, "dash", dir, `${bundles.folder}/odd`]);
  const [binary = "", oci = ""] = bundles.words([]);
  const call = (...args: string[]): ReturnType<typeof command> => command([binary, oci, "--root", `${bundles.folder}/state\\377`, "--log", `${bundles.folder}/log\\376`, ...args], args[0] === "create");
  const id = bundles.id();
  try {
    expect(call("create", "--bundle", `${bundles.folder}/odd\\377\\344`, "--pid-file", `${bundles.folder}/pid\\377`, id)).toMatchObject({ status: 0 });
    expect(call("start", id)).toMatchObject({ status: 0 });
    const state = JSON.parse(call("state", id).stdout.toString()) as { pid: number; status: string; bundle: string };
    expect(state.status).toBe("running");
    expect(state.bundle).toBe(`${bundles.folder}/odd\udcff\udce4`);
    expect(readFileSync(Buffer.concat([Buffer.from(`${bundles.folder}/pid`), raw("\\377")])).toString()).toBe(String(state.pid));
    expect(call("exec", id, "/bin/echo", "\\377").stdout).toEqual(raw("\\377\n"));
    // The root is the bundle's own: what lies there is seen inside.
    expect(existsSync(Buffer.concat([odd, Buffer.from("/rootfs/bin")]))).toBe(true);
  } finally {
    call("delete", "--force", id);
  }
  const made = readdirSync(bundles.folder, "latin1");
  expect(made).toContain("state\u00ff");
  expect(made.filter((name) => name.includes("\u00ef\u00bf\u00bd"))).toEqual([]);
  expect(readdirSync(Buffer.concat([Buffer.from(`${bundles.folder}/state`), raw("\\377")]))).toEqual([]);
});

it("tmpcopyup copies names and link targets byte for byte", () => {
  const { stdout, stderr } = bundles.run("cd /etc/odd; for f in *; do echo -n $f; done | od -An -tx1; readlink l* | od -An -tx1", (config) => {
    config.mounts.push({ destination: "/etc/odd", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] });
    const rootfs = join(bundles.folder, readdirSync(bundles.folder).filter((name) => name.startsWith("bundle")).at(-1) ?? "", "rootfs");
    execFileSync("dash", ["-c", `mkdir -p "$1/etc/odd"; cd "$1/etc/odd"; ln -s "$(printf 'to\\377')" "l$(printf '\\376')"; : > "$(printf '\\351')"`, "dash", rootfs]);
  });
  expect(stderr).toBe("");
  expect(stdout.replace(/\s+/g, " ").trim()).toBe("6c fe e9 74 6f ff 0a");
});

it("finds a home in a passwd file that has other bytes in it", () => {
  const { stdout } = bundles.run("echo $HOME", () => {
    const rootfs = join(bundles.folder, readdirSync(bundles.folder).filter((name) => name.startsWith("bundle")).at(-1) ?? "", "rootfs");
    execFileSync("dash", ["-c", `mkdir -p "$1/etc"; printf 'root:x:0:0:J\\366rg:/the/home:/bin/sh\\n' > "$1/etc/passwd"`, "dash", rootfs]);
  });
  expect(stdout).toBe("/the/home\n");
});
