// `katactl run -it` and `katactl exec -it` over real terminals, into a real VM: much in both directions at once, a reader that rests,
// hang-ups of either side, sizes, Ctrl-C and Ctrl-Z. Nothing is lost that somebody could have taken, no processor is spun, no process stays.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { makeSampleImage } from "../../tools/make-sample-image.js";
import { chooseWire } from "../../ctl/vm/wire.js";
import { noTerminal, Terminal } from "../helpers/terminal.js";
import { vmOver } from "../helpers/vm.js";
import { suite } from "../helpers/suite.js";

const KATACTL = join(fileURLToPath(new URL("../..", import.meta.url)), "katactl");
const oneClient = (): string | undefined => (chooseWire("auto").kind === "serial" ? "virtio-serial has room for one client" : undefined);
const MUCH = 1_000_000;
/** Hundredths of a second that a command may use while its reader rests for ten seconds: far less than what spinning uses. */
const FEW_TICKS = 200;
const SLOW = 120_000; // for what is emulated on a machine that has more to do

suite("katactl on a terminal", { needs: [vmOver(), noTerminal, oneClient] }, () => {
  const name = `t${process.pid}`;
  let folder: string;
  let image: string;
  let env: NodeJS.ProcessEnv;
  let vm: ReturnType<typeof start>;
  const start = (...words: readonly string[]) => execa(KATACTL, words, { env, reject: false });
  const open: Terminal[] = [];
  const before = { ...process.env };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "kt-"));
    image = join(folder, "image");
    env = { KATACTL_STATE: join(folder, "state"), TMPDIR: mkdtempSync(join(folder, "t-")) };
    Object.assign(process.env, env); // the terminals' commands have it too
    await makeSampleImage(image);
    vm = start("run", "-q", "-i", "--name", name, image, "--", "sh", "-c", "echo up; cat");
    await Promise.race([new Promise<void>((done) => vm.stdout?.once("data", () => done())), vm.then((end) => expect(end.stderr).toBe("still running"))]);
  }, SLOW);
  afterEach(async () => {
    for (const terminal of open.splice(0)) await terminal.stop();
  });
  afterAll(async () => {
    vm.stdin?.end();
    const { exitCode } = await vm;
    const own = env["TMPDIR"] as string;
    const left = [...readdirSync(own).filter((file) => !file.startsWith("tsx-")), ...(existsSync(join(folder, "state")) ? readdirSync(join(folder, "state")) : []),
      ...execFileSync("ps", ["axo", "args"], { encoding: "utf8" }).split("\n").filter((line) => line.includes(own))];
    rmSync(folder, { recursive: true, force: true });
    for (const key of Object.keys(env)) if (before[key] === undefined) delete process.env[key];
      else process.env[key] = before[key];
    expect({ exitCode, left }).toEqual({ exitCode: 0, left: [] });
  }, SLOW);

  const on = (...words: readonly string[]): Terminal => {
    const terminal = new Terminal([KATACTL, ...words]);
    open.push(terminal);
    return terminal;
  };
  const exec = (script: string): Terminal => on("exec", "-it", "-e", "PS1=> ", name, "--", "sh", "-c", script);
  /** A command beside, to its end. */
  const beside = async (script: string): Promise<string> => (await start("exec", name, "--", "sh", "-c", script)).stdout;
  /** How many processes of the guest have this word in their command line. */
  const running = async (word: string): Promise<number> => Number(await beside(`n=0; for p in /proc/[0-9]*; do [ $p != /proc/$$ ] && tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '${word.slice(0, 1)}[${word.slice(1, 2)}]${word.slice(2)}' && n=$((n+1)); done; echo $n`));
  const ticksOf = (pid: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const paste = Buffer.from(Array.from({ length: MUCH / 10 }, (_, i) => String(i).padStart(9, "0").concat(" ")).join(""));
  const both = `stty raw -echo; echo ready; { head -c ${MUCH} /dev/zero | tr '\\0' x; } & head -c ${MUCH} | sha256sum > /tmp/sum; wait; echo; cat /tmp/sum`;
  const carriesBoth = async (terminal: Terminal): Promise<void> => {
    await terminal.expect("ready", SLOW);
    terminal.type(paste);
    const written = (await terminal.expect("  -", SLOW)).toString();
    expect(written).toContain("x".repeat(MUCH));
    expect(written).toContain(createHash("sha256").update(paste).digest("hex"));
  };

  it("exec carries a paste of a megabyte while the program writes as much", async () => {
    const terminal = exec(`${both}; exit 4`);
    await carriesBoth(terminal);
    expect(await terminal.end(SLOW)).toMatchObject({ status: 4, same: true });
  }, SLOW);

  it("exec keeps all for a reader that rests for ten seconds, and uses no processor meanwhile", async () => {
    const terminal = exec(`stty -echo; echo ready; read x; head -c ${MUCH} /dev/zero | tr '\\0' y; echo; echo last; exit 3`);
    await terminal.expect("ready", SLOW);
    terminal.look(false);
    terminal.type("\n");
    const pid = await terminal.pid();
    await beside("true"); // it writes by now, or is about to
    const used = ticksOf(pid);
    await beside("sleep 10");
    expect(ticksOf(pid) - used).toBeLessThan(FEW_TICKS);
    terminal.look(true);
    expect(String(await terminal.expect("last", SLOW))).toContain("y".repeat(MUCH));
    expect(await terminal.end(SLOW)).toMatchObject({ status: 3, same: true });
  }, SLOW);

  it("exec hands on signals while nobody reads, and ends then", async () => {
    const terminal = exec("trap 'exit 9' TERM; echo ready; while :; do echo some more text; done");
    await terminal.expect("ready", SLOW);
    terminal.look(false);
    await beside("true");
    process.kill(await terminal.pid(), "SIGTERM");
    expect(await terminal.end(SLOW)).toMatchObject({ status: 9, same: true });
  }, SLOW);

  it.each([
    ["a shell", "echo ready; while read x; do :; done; : mark-one", "mark-one"],
    ["a program that knows of no hang-up", "echo ready; exec sleep 7654321", "7654321"],
    ["a program that ignores it", "trap '' HUP; echo ready; exec sleep 7654322", "7654322"],
    ["a program that writes on", "echo ready; exec yes mark-two", "mark-two"],
  ])("exec ends %s when the caller's terminal is hung up", async (_, script, word) => {
    const terminal = exec(script);
    await terminal.expect("ready", SLOW);
    expect(await running(word)).toBe(1);
    terminal.hangUp();
    await terminal.end(SLOW);
    expect(await running(word)).toBe(0);
  }, SLOW);

  it("exec has the caller's size from the first moment and follows it", async () => {
    const terminal = exec("stty size; trap 'stty size; exit 0' WINCH; sleep 100000 & echo ready; wait");
    await terminal.expect("30 90", SLOW);
    await terminal.expect("ready", SLOW);
    terminal.resize(41, 123);
    await terminal.expect("41 123", SLOW);
    expect(await terminal.end(SLOW)).toMatchObject({ status: 0, same: true });
  }, SLOW);

  it("exec ends when its program is killed", async () => {
    const terminal = exec("echo $$ > /tmp/killed; echo ready; exec sleep 7654323");
    await terminal.expect("ready", SLOW);
    await beside("kill -9 $(cat /tmp/killed)");
    expect(await terminal.end(SLOW)).toMatchObject({ status: 137, same: true });
  }, SLOW);

  /** What a person does at a shell: Ctrl-C, Ctrl-Z, and back again. */
  const keys = async (terminal: Terminal): Promise<void> => {
    await terminal.expect("> ", SLOW);
    terminal.type("echo u''p; cat\r");
    await terminal.expect("up\r\n", SLOW);
    terminal.type("first\r");
    await terminal.expect("first\r\nfirst\r\n", SLOW); // typed and copied
    terminal.type("\x1a");
    await terminal.expect("Stopped", SLOW);
    await terminal.expect("> ", SLOW);
    terminal.type("fg\r");
    await terminal.expect("fg\r\n", SLOW);
    await terminal.expect("cat\r\n", SLOW);
    terminal.type("second\r");
    await terminal.expect("second\r\nsecond\r\n", SLOW);
    terminal.type("\x03");
    await terminal.expect("> ", SLOW);
  };

  it("exec gives the program Ctrl-C and Ctrl-Z", async () => {
    const terminal = exec("exec sh -i");
    await keys(terminal);
    terminal.type("exit 5\r");
    expect(await terminal.end(SLOW)).toMatchObject({ status: 5, same: true });
  }, SLOW);

  it("run does all of it", async () => {
    const terminal = on("run", "-q", "-it", "-e", "PS1=> ", "--name", `${name}r`, image, "--", "sh", "-c", "stty size; exec sh -i");
    await terminal.expect("30 90", SLOW);
    await keys(terminal);
    terminal.resize(41, 123);
    terminal.type('while [ "$(stty size)" != "41 123" ]; do :; done; echo re"sized"\r');
    await terminal.expect("\nresized", SLOW);
    await terminal.expect("> ", SLOW);
    terminal.type(`sh -c "${both.replaceAll('"', '\\"')}"; stty sane; echo a"gain"\r`);
    await carriesBoth(terminal);
    await terminal.expect("\nagain", SLOW);
    terminal.type(`stty -echo; head -c ${MUCH} /dev/zero | tr '\\0' z; echo; echo la"st"; exit 6\r`);
    terminal.look(false);
    const used = ticksOf(await terminal.pid());
    await beside("sleep 10"); // in the other VM
    expect(ticksOf(await terminal.pid()) - used).toBeLessThan(FEW_TICKS);
    terminal.look(true);
    expect(String(await terminal.expect("\nlast", SLOW))).toContain("z".repeat(MUCH));
    expect(await terminal.end(SLOW)).toMatchObject({ status: 6, same: true });
  }, 2 * SLOW);

  it.each([["is hung up", undefined], ["loses its VM", 125]])("run ends and leaves nothing when it %s", async (how, status) => {
    const terminal = on("run", "-q", "-it", "--name", `${name}h`, image, "--", "sh", "-c", "echo ready; exec sleep 7654324");
    await terminal.expect("ready", SLOW);
    const { qemuPid } = JSON.parse(readFileSync(join(folder, "state", `${name}h.json`), "utf8")) as { qemuPid: number };
    if (status === undefined) terminal.hangUp();
    else process.kill(qemuPid, "SIGKILL");
    const end = await terminal.end(SLOW);
    if (status !== undefined) {
      expect(end, how).toMatchObject({ status, same: true });
      rmSync(/logs: (\S+)/.exec(terminal.rest.toString())?.[1] as string, { recursive: true });
    }
    expect(existsSync(`/proc/${qemuPid}/exe`)).toBe(false);
    expect(existsSync(join(folder, "state", `${name}h.json`))).toBe(false);
  }, SLOW);
});
