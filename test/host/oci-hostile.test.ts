// Hostile configurations for the real command line, in a cell of its own: each command ends in time with 0 or 1, says why not in
// one line, and leaves nothing. And what else people hand to it: odd ids, bundles that are none, files that are no text.
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FULL_CONFIG } from "../helpers/full-config.js";
import { hostile, namesField } from "../helpers/hostile-config.js";
import { Cell } from "../helpers/oci-cell.js";
import { errorsIn } from "../helpers/said.js";
import { suite } from "../helpers/suite.js";

const TIME = 20_000;

/** What the full configuration asks for that this machine may not have is left out. */
function fitting(tag: string): any {
  const base = structuredClone(FULL_CONFIG) as any;
  const { linux, process } = base;
  base.root.path = "rootfs";
  base.mounts = base.mounts.filter((m: any) => m.destination !== "/mapped");
  process.terminal = false;
  linux.namespaces = linux.namespaces.filter((n: any) => n.type !== "user");
  for (const name of ["uidMappings", "gidMappings", "intelRdt", "netDevices", "memoryPolicy"]) delete linux[name];
  linux.cgroupsPath = `/${tag}/a`;
  linux.resources = { devices: linux.resources.devices, memory: { limit: 104857600, swappiness: 10 }, cpu: { shares: 512 }, pids: { limit: 50 } };
  return base;
}

suite("the command line", { needs: ["agent"] }, () => {
  let cell: Cell;
  let before: object;
  beforeAll(async () => {
    cell = await Cell.start();
    before = cell.state();
  });
  afterAll(() => cell?.stop());

  /** One create, and what must hold after it. Returns its message. */
  function attempt(text: string): string {
    cell.config(text);
    const id = cell.id();
    const made = cell.command(["create", "--bundle", "/b", id]);
    if (made.status === 0) {
      const state = cell.command(["state", id]);
      expect(JSON.parse(state.text)).toMatchObject({ id, status: "created" });
      const gone = cell.command(["delete", "--force", id]);
      expect({ ...gone, text: gone.text.replace(/^time=\S+ level=warning msg=".*poststop.*\n/gm, "") }).toEqual({ status: 0, text: "" }); // a poststop hook that fails is only told of
    } else {
      expect(made.status, made.text).toBe(1);
      const last = made.text.trim().split("\n").filter((l) => !/^time=".*" level=warning/.test(l));
      expect(last, made.text).toHaveLength(1);
      expect(last[0]).not.toMatch(/TypeError|ReferenceError|InternalError|RangeError|\[object|undefined|NaN/);
    }
    expect(cell.state()).toEqual(before);
    return made.status === 0 ? "" : made.text;
  }

  it("takes the configuration that the others are made of", () => {
    expect(attempt(JSON.stringify(fitting(cell.tag)))).toBe("");
  });

  /** What a command that must fail says, without its own name. */
  function refusal(args: readonly string[], status = 1): string {
    const made = cell.command(args);
    expect(made.status, made.text).toBe(status);
    expect(made.text).toMatch(/^time=[^\n]+ level=error msg=[^\n]+\n$/);
    expect(cell.state()).toEqual(before);
    return errorsIn(made.text)[0] as string;
  }
  const shell = (script: string): void => expect(cell.command(["sh", "-c", script], "/bin/busybox")).toEqual({ status: 0, text: "" });

  it.each([
    ["", "empty"], [".", "begins with a dot"], ["..", "begins with a dot"], [".hidden", "begins with a dot"], ["a/b", "invalid character `/`"], ["../x", "invalid character"], ["a b", "invalid character"], ["a\nb", "invalid character `\n`"],
    ["a\u001b[31m", "invalid character `\u001b`"], ["ü", "invalid character"], ["x".repeat(1025), "too long"], ["x".repeat(100_000), "too long"],
  ].map(([id = "", words]) => [id.length > 99 ? `of ${id.length} characters` : JSON.stringify(id), id, words] as const))("refuses the id %s", (_name, id, words = "") => {
    cell.config(JSON.stringify(fitting(cell.tag)));
    for (const args of [["create", "--bundle", "/b", id], ["state", id], ["delete", id], ["kill", id], ["start", id], ["pause", id]]) {
      const said = refusal(args);
      expect(said, args[0]).toContain(words);
      expect(said.length).toBeLessThan(400);
    }
    expect(refusal(["exec", id, "true"], 255)).toContain(words);
  });

  it("refuses an id that is longer than a file's name may be", () => {
    cell.config(JSON.stringify(fitting(cell.tag)));
    expect(refusal(["create", "--bundle", "/b", "y".repeat(300)])).toContain("File name too long");
  });

  const whole = (): string => JSON.stringify(fitting(cell.tag));
  it.each([
    ["a folder", "mkdir /b/config.json", "/b/config.json: is not a regular file"],
    ["a FIFO", "busybox mkfifo /b/config.json", "/b/config.json: is not a regular file"],
    ["a device", "ln -s /dev/zero /b/config.json", "/b/config.json: is not a regular file"],
    ["a loop of links", "ln -s config.json /b/config.json", "ELOOP"],
    ["a link to nowhere", "ln -s nowhere /b/config.json", "no such file or directory"],
    ["not there", ":", "no such file or directory"],
    ["larger than any configuration", "busybox truncate -s 17M /b/config.json", "larger than"],
  ])("refuses a configuration that is %s", (_what, script, words) => {
    shell(`cd /; busybox rm -rf /b/config.json; ${script.replace("ln ", "busybox ln ").replace("mkdir", "busybox mkdir")}`);
    expect(refusal(["create", "--bundle", "/b", cell.id()])).toContain(words);
    shell("busybox rm -rf /b/config.json");
  });

  it.each<[string, () => string | Uint8Array, string]>([
    ["empty", () => "", "is not JSON"], ["cut off", () => whole().slice(0, -1), "is not JSON"], ["UTF-16", () => Buffer.from(whole(), "utf16le"), "is not JSON"], ["UTF-16 with a mark", () => Buffer.from(`\ufeff${whole()}`, "utf16le"), "is not UTF-8"],
    ["marked as UTF-8", () => `\ufeff${whole()}`, "is not JSON"], ["Latin-1", () => Buffer.from(whole().replace("host", "h\xf6st"), "latin1"), "is not UTF-8"], ["doubled", () => whole() + whole(), "is not JSON"], ["a list", () => "[]", "is not an object"],
    ["nested too deep", () => "[".repeat(5_000_000), "is not JSON"], ["deep below a field", () => `{"ociVersion":"1.0.0","more":${'{"a":'.repeat(2_000_000)}`, "is not JSON"], ["null", () => "null", "is not an object"], ["with a comment", () => `// a\n${whole()}`, "is not JSON"],
    ["full of zeros", () => new Uint8Array(4096), "is not JSON"],
  ])("refuses a configuration that is %s", (_what, text, words) => {
    cell.config(text());
    const said = refusal(["create", "--bundle", "/b", cell.id()]);
    expect(said).toContain("/b/config.json: the configuration: ".slice(0, words === "is not UTF-8" ? 16 : undefined));
    expect(said).toContain(words);
    expect(said.length).toBeLessThan(300);
  });

  it.each([["/nowhere", "no such file or directory"], ["/b/config.json", "Not a directory"], ["/b/loop", "ELOOP"], ["/proc/self/fd/99", "no such file or directory"]])("refuses the bundle %s", (bundle, words) => {
    cell.config(whole());
    shell("busybox ln -sfn loop /b/loop");
    expect(refusal(["create", "--bundle", bundle, cell.id()]).toLowerCase()).toContain(words.toLowerCase());
  });

  it("takes a changed configuration or refuses it in one line, and leaves nothing", () => {
    let taken = 0;
    fc.assert(
      fc.property(hostile(fitting(cell.tag), cell.tag), ({ text }) => {
        const message = attempt(text);
        if (message === "") taken++;
        else expect(errorsIn(message)[0]?.replace(/^(create container \S+: |\/b\/config\.json: )?/, ""), message).toSatisfy(namesField);
      }),
      { numRuns: 100_000, interruptAfterTimeLimit: TIME, markInterruptAsFailure: false, endOnFailure: true },
    );
    expect(taken).toBeGreaterThan(3);
  }, TIME + 40_000);

  it("names the memory limit that the child did not have enough of", () => {
    const config = fitting(cell.tag);
    config.linux.resources.memory = { limit: 1 };
    const message = attempt(JSON.stringify(config));
    if (message !== "") expect(errorsIn(message)[0]).toMatch(/^create container \S+: linux\.resources\.memory\.limit: the child died before it was ready: 1 bytes are too few for it$/);
  });

  it("takes a changed process for exec or refuses it in one line, and the container stays as it is", () => {
    cell.config(JSON.stringify({ ...fitting(cell.tag), process: { ...fitting(cell.tag).process, args: ["sleep", "1000"] } }));
    const id = cell.id();
    for (const args of [["create", "--bundle", "/b", id], ["start", id]]) expect(cell.command(args)).toEqual({ status: 0, text: "" });
    const running = cell.state();
    let taken = 0;
    fc.assert(
      fc.property(hostile(fitting(cell.tag).process, cell.tag), ({ text }) => {
        cell.process(text);
        const { status, text: said } = cell.command(["exec", "--process", "/b/process.json", id]);
        if (status === 255) expect(errorsIn(said)[0]?.replace(/^(exec .*?: |\/b\/process\.json: )?/, ""), said).toSatisfy(namesField);
        else expect(status, said).toBeGreaterThanOrEqual(0); // the program's own
        if (status === 0) taken++;
        expect(cell.state()).toEqual(running);
      }),
      { numRuns: 100_000, interruptAfterTimeLimit: TIME / 2, markInterruptAsFailure: false, endOnFailure: true },
    );
    expect(taken).toBeGreaterThan(3);
    expect(cell.command(["delete", "--force", id])).toEqual({ status: 0, text: "" });
    expect(cell.state()).toEqual(before);
  }, TIME + 40_000);
});
