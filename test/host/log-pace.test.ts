// A terminal as the log's way out takes the agent's processor for every byte (a VM's serial console), so it gets only so much a second;
// what is left out is counted. Whoever asks for `debug` wants every line.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { connectAgent } from "../../ctl/client/connect.js";
import { findProgram } from "../../ctl/vm/program.js";
import { outcome, until } from "../helpers/lab.js";
import { BINARY, whyNot } from "../helpers/private-agent.js";

const why = whyNot() ?? (findProgram("python3") === undefined ? "needs python3" : undefined);
if (why !== undefined) console.warn(`skipped: ${why}`);
const CALLS = 2000;

// the parent is the terminal's other side: what comes there goes to its standard output
const READER = `import ctypes, os, pty, sys, threading
m, s = pty.openpty()
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).prctl(1, 9) # PR_SET_PDEATHSIG: it ends with its maker, however that ends
    os.close(m)
    os.dup2(s, 1); os.dup2(s, 2); os.close(s)
    os.execv(sys.argv[1], ["kata-agent", "--config", sys.argv[2]])
os.close(s)
while True:
    data = os.read(m, 65536)
    os.write(1, data)
`;

describe.skipIf(why !== undefined)("a log on a terminal that is read", () => {
  let child: ChildProcess | undefined;
  let dir = "";
  afterEach(async () => {
    const gone = child === undefined ? undefined : once(child, "exit");
    child?.kill("SIGKILL");
    await gone;
    rmSync(dir, { recursive: true, force: true });
  });

  it.each([["info", 0.5 * CALLS, true], ["debug", CALLS, false]])("at level %s: of 2,000 failing calls", async (level, bound, dropped) => {
    dir = mkdtempSync(join(tmpdir(), "kata-pace-"));
    const socket = join(dir, "a.sock");
    writeFileSync(join(dir, "agent.toml"), `server_addr = "unix://${socket}"\nlog_level = "${level}"\n`);
    child = spawn("python3", ["-c", READER, BINARY, join(dir, "agent.toml")], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout?.on("data", (data: Buffer) => (text += data.toString()));
    const client = await connectAgent(`unix://${socket}`, { waitMs: 20_000 });
    const fail = (): Promise<string> => outcome(client.startContainer({ container_id: `none${"x".repeat(200)}` }));
    const lines = (): number => text.split("\n").filter((line) => line.includes("StartContainer failed")).length;
    if (dropped) {
      await Promise.all(Array.from({ length: CALLS }, fail));
      expect(lines()).toBeLessThan(bound);
      await until("the number of dropped lines is told", async () => {
        await fail();
        return /"msg":"\d+ lines of the log were dropped/.test(text);
      });
    } else {
      for (let i = 0; i < CALLS; i++) await fail(); // the reader keeps up with one after the other
      await until("every line has come, or was counted", () => lines() >= bound || /lines of the log were dropped/.test(text));
    }
    client.close();
  });
});
