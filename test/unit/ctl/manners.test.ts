// What the host side says of itself: help, completion, what goes to the background, what a machine lacks.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { foreground } from "../../../ctl/commands/detach.js";
import { examine } from "../../../ctl/commands/doctor.js";
import { sizeText, timeText } from "../../../ctl/commands/options.js";
import { memoryNeed, tooSmall } from "../../../ctl/vm/enough.js";
import { projectRoot } from "../../../tools/places.js";

const katactl = (...words: string[]): { status: number | null; stdout: string; stderr: string } => spawnSync(join(projectRoot, "katactl"), words, { encoding: "utf8" });

describe("help", () => {
  it("says sizes and times as a person would", () => {
    expect([sizeText(268435456), sizeText(1024 ** 3), sizeText(1536), sizeText(1000), timeText(60_000), timeText(2500)]).toEqual(["256M", "1G", "1536", "1000", "60 s", "2.5 s"]);
  });

  it("has options in groups, and no default that is empty or in bytes", () => {
    const { stdout, status } = katactl("run", "--help");
    expect(status).toBe(0);
    for (const title of ["Arguments:", "Container:", "Machine:", "Output:"]) expect(stdout).toContain(`\n${title}\n`);
    expect(stdout).toContain("(default: 256M)");
    expect(stdout).toContain("(default: 60 s)");
    expect(stdout).not.toMatch(/default: (\[\]|""|\d{4,})/);
    expect(stdout).not.toContain("--publish");
  });

  it("suggests the command or option that was meant", () => {
    expect(katactl("rum").stderr).toContain("Did you mean run?");
    expect(katactl("run", "--memry", "5", "x").stderr).toContain("Did you mean --memory?");
  });
});

describe("options that docker has", () => {
  it("-p is refused with the reason, --rm is taken with a word", () => {
    const refused = katactl("run", "-p", "80:80", "x");
    expect(refused.status).toBe(125);
    expect(refused.stderr).toContain("no network that ports could be published of");
    expect(katactl("run", "--rm", "/nothing/here").stderr).toContain("katactl: --rm: nothing is ever left of a container that has ended");
  });

  it("-d goes on with the same words, wherever it was said", () => {
    expect(foreground(["run", "-d", "image"])).toEqual(["run", "image"]);
    expect(foreground(["boot", "--detach", "--name", "a"])).toEqual(["boot", "--name", "a"]);
    expect(foreground(["run", "-qd", "image", "--", "ls", "-d"])).toEqual(["run", "-q", "image", "--", "ls", "-d"]);
    expect(katactl("run", "-dt", "/nothing/here").stderr).toContain("not with -i or -t");
  });
});

describe("completion", () => {
  const words = (line: readonly string[]): string[] =>
    execFileSync("bash", ["-c", `${katactl("completion", "bash").stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _katactl; printf '%s\\n' "\${COMPREPLY[@]}"`, "bash", ...line], { encoding: "utf8" }).trim().split("\n");

  it("of bash knows commands and the options of each", () => {
    expect(words(["katactl", "d"])).toEqual(["doctor"]);
    expect(words(["katactl", "stop", "--t"])).toEqual(["--timeout"]);
    expect(words(["katactl", "run", "--vm-"])).toEqual(["--vm-memory", "--vm-cpus"]);
    expect(words(["katactl", "run", "--pub"])).toEqual([""]);
  });

  it.each(["zsh", "fish"])("of %s has every command", (shell) => {
    const { stdout, status } = katactl("completion", shell);
    expect(status).toBe(0);
    for (const command of ["run", "exec", "ctl", "boot", "ps", "stop", "doctor", "completion"]) expect(stdout).toMatch(new RegExp(`\\b${command}\\b`));
  });

  it("of another shell is refused with those there are", () => {
    expect(katactl("completion", "tcsh").stderr).toContain("bash, zsh, fish");
  });
});

describe("doctor", () => {
  it("tells of everything that a run needs what was found, and of what is missing what to do", async () => {
    const all = await examine();
    expect(all.map(({ name }) => name)).toEqual(["QEMU", "KVM", "kernel", "agent", "initrd", "vsock", "virtio-fs", "control groups", "cache", "user"]);
    for (const { name, state, found, todo } of all) {
      expect(found, name).not.toBe("");
      if (state === "missing") expect(todo, name).toBeDefined();
    }
  });

  it("ends with 1 where a VM cannot be run, and its JSON is what it prints", () => {
    const { stdout, status } = spawnSync(join(projectRoot, "katactl"), ["doctor", "--json"], { encoding: "utf8", env: { ...process.env, KATA_DIST: "/nothing/here" } });
    const all = JSON.parse(stdout) as { name: string; state: string }[];
    expect(all.find(({ name }) => name === "kernel")?.state).toBe("missing");
    expect(status).toBe(1);
  });
});

describe("a VM that is too small", () => {
  it("is told by what has to be in it", () => {
    const folder = mkdtempSync(join(tmpdir(), "kc-small-"));
    try {
      const file = (name: string, bytes: number, head = ""): string => {
        writeFileSync(join(folder, name), Buffer.concat([Buffer.from(head, "latin1"), Buffer.alloc(bytes - head.length)]));
        return join(folder, name);
      };
      const MIB = 1024 ** 2;
      const elf = file("vmlinux", 20 * MIB, "\x7fELF");
      expect(memoryNeed(elf, file("initrd", MIB))).toBe(43);
      expect(memoryNeed(elf, undefined)).toBe(41);
      expect(memoryNeed(file("bzImage", 5 * MIB), undefined)).toBe(40);
      expect(tooSmall(36, 43)).toBe("the VM has too little memory: 36 MiB, this kernel needs about 43 (--vm-memory)");
      expect(tooSmall(43, 43)).toBeUndefined();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
