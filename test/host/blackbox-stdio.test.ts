// Standard streams to the byte: ends at the real end, nothing lost, nothing kept for a slow reader (agent-api 9, 25.T5, 26.7,
// 26.9, 26.12). Every test ends with the agent's descriptors, mounts and processes as before.
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { readStream, writeStream } from "../../ctl/client/stdio.js";
import { Lab, labs,  named, outcome, until, type Change } from "../helpers/lab.js";
import { suite } from "../helpers/suite.js";

const MB = 1 << 20;
const sha = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const withTerminal: Change = (spec) => (spec.process["terminal"] = true);

suite("the standard streams", { needs: ["agent"], fixture: labs(async (one) => one.remove(await one.up("cat", withTerminal))) }, (use) => {
  let lab: Lab;
  beforeAll(() => {
    lab = use();
  });

  it.each([["a container", false], ["an exec", true]])("carry 10 MB through %s and back, to the end", async (_name, exec) => {
    const id = await lab.up(exec ? undefined : "exec cat");
    const p = exec ? await lab.exec(id, "exec cat") : named(id);
    const data = randomBytes(10 * MB);
    const hash = createHash("sha256");
    let length = 0;
    await Promise.all([
      writeStream(lab.client, p, (async function* () { yield data; })()),
      readStream(lab.client, p, "stdout", (piece) => { length += piece.length; hash.update(piece); }),
    ]);
    expect([length, hash.digest("hex")]).toEqual([data.length, sha(data)]);
    expect(await lab.readAll(p, "stderr")).toBe("");
    expect(await lab.wait(p)).toBe(0);
    await lab.remove(id);
  });

  it("end the input by an empty write or by CloseStdin, once or twice", async () => {
    const id = await lab.up();
    for (const end of [(p: ReturnType<typeof named>) => lab.write(p, ""), (p: ReturnType<typeof named>) => lab.client.closeStdin(p)]) {
      const p = await lab.exec(id, "cat; echo end >&2; read x < /dev/null; sleep 1000");
      expect(await lab.write(p, "in")).toEqual({ len: 2 });
      await end(p);
      expect(await lab.expectText(p, "in")).toBe("in");
      expect(await lab.read(p, 100, "stderr")).toBe("end\n");
      expect(await outcome(end(p))).toBe("OK");
      expect(await outcome(lab.client.closeStdin(p))).toBe("OK");
      expect(await outcome(lab.write(p, ""))).toBe("OK");
      expect(await outcome(lab.write(p, "more"))).toBe("INTERNAL: Cannot get writer");
      await lab.client.signalProcess({ ...p, signal: 9 });
      expect(await lab.wait(p)).toBe(137);
    }
    await lab.remove(id);
  });

  it("write in the order of the calls, also what does not fit the pipe, before the end", async () => {
    const id = await lab.up("read go; exec sha256sum");
    const pieces = Array.from({ length: 20 }, (_, i) => Buffer.alloc(100_000, i + 1));
    const writes = [lab.write(named(id), "go\n"), ...pieces.map((data) => lab.client.writeStdin({ ...named(id), data }))];
    await lab.client.closeStdin(named(id));
    await Promise.all(writes);
    // `read` takes its line byte by byte, so nothing of the rest is gone
    expect((await lab.readAll(named(id))).split(" ")[0]).toBe(sha(Buffer.concat(pieces)));
    expect(await lab.wait(named(id))).toBe(0);
    await lab.remove(id);
  });

  it("tell a writer that nobody reads any more", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "exec <&-; echo closed; exec sleep 1000");
    await lab.expectText(p, "closed");
    expect(await outcome(lab.write(p, "x"))).toMatch(/^INTERNAL: .*EPIPE/);
    const q = await lab.exec(id, "echo up; exec sleep 1000");
    await lab.expectText(q, "up");
    const stuck = outcome(lab.client.writeStdin({ ...q, data: Buffer.alloc(MB) })); // more than a pipe holds
    expect(await outcome(lab.client.writeStdin({ ...q, data: Buffer.alloc(1) }, { timeoutMs: 10 }))).toMatch(/^DEADLINE_EXCEEDED/);
    await lab.client.signalProcess({ ...q, signal: 9 });
    expect(await stuck).toMatch(/^INTERNAL: .*EPIPE/);
    expect(await lab.wait(q)).toBe(137);
    await lab.remove(id);
  });

  it("keep the two outputs apart", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "echo out; echo err >&2; echo out2; exit 2");
    expect(await Promise.all([lab.readAll(p), lab.readAll(p, "stderr"), lab.wait(p)])).toEqual(["out\nout2\n", "err\n", 2]);
    await lab.remove(id);
  });

  it("give each reader its own bytes, each byte once", async () => {
    const id = await lab.up("read x; seq 1 20000");
    const parts: Buffer[] = [];
    const all = Array.from({ length: 4 }, async () => {
      for (;;) {
        const { data } = await lab.client.readStdout({ ...named(id), len: 1000 });
        if (data.length === 0) return;
        parts.push(Buffer.from(data)); // answers come in the order in which they were read
      }
    });
    await lab.write(named(id), "\n");
    await Promise.all(all);
    expect(Buffer.concat(parts).toString()).toBe(Array.from({ length: 20000 }, (_, i) => `${i + 1}\n`).join(""));
    await lab.wait(named(id));
    await lab.remove(id);
  });

  it("read as much as is asked for and there", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "printf 0123456789; exec sleep 1000");
    expect(await lab.read(p, 0)).toBe("");
    expect(await lab.read(p, 3)).toBe("012");
    expect(await lab.read(p, 0)).toBe("");
    expect(await lab.read(p, 0xffffffff)).toBe("3456789");
    const big = await lab.exec(id, "head -c 3000000 /dev/zero");
    let total = 0;
    for (let n = -1; n !== 0; total += n) n = (await lab.client.readStdout({ ...big, len: 0xffffffff })).data.length;
    expect(total).toBe(3_000_000);
    await lab.wait(big);
    await lab.remove(id);
  });

  it("lose nothing when a reader leaves, its time is over, or it asks again", async () => {
    const id = await lab.up("read x; echo precious; read x; echo second; read x");
    const p = named(id);
    const other = await lab.another();
    const gone = outcome(other.readStdout({ ...p, len: 100 }));
    expect(await outcome(lab.client.readStdout({ ...p, len: 100 }, { timeoutMs: 5, serverKeepsTime: true }))).toMatch(/^DEADLINE_EXCEEDED/);
    const fds = lab.fds();
    other.close();
    await gone;
    await until("the agent has seen it go", () => lab.fds() < fds);
    await lab.write(p, "\n");
    expect(await lab.read(p)).toBe("precious\n");
    const abort = new AbortController();
    const aborted = outcome(lab.client.readStderr({ ...p, len: 100 }, { signal: abort.signal }));
    abort.abort();
    await aborted;
    await lab.write(p, "\n");
    expect(await lab.read(p)).toBe("second\n");
    await lab.write(p, "\n");
    expect(await lab.read(p)).toBe("");
    expect(await lab.wait(p)).toBe(0);
    await lab.remove(id);
  });

  it("end with their process, though a child keeps them", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "sleep 1000 & echo begun; exit 6");
    expect(await Promise.all([lab.readAll(p), lab.readAll(p, "stderr"), lab.wait(p)])).toEqual(["begun\n", "", 6]);
    const late = await lab.exec(id, "sleep 1000 & echo late; exit 6"); // nobody reads before it has ended
    expect(await lab.wait(late)).toBe(6);
    expect([await lab.readAll(late), await lab.readAll(late, "stderr")]).toEqual(["late\n", ""]);
    await lab.remove(id);
  });

  it("end though a child never stops writing", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "yes & echo $! >&2; exit 3");
    expect(await lab.read(p, 100, "stderr")).toMatch(/^\d+\n$/);
    const text = await lab.readAll(p);
    expect(text.length).toBeLessThan(8 * MB);
    expect(await lab.wait(p)).toBe(3);
    await lab.remove(id);
  });

  it("end when the program closes them, before its own end", async () => {
    const id = await lab.up("echo last words; exec >&- 2>&-; read x; exit 11");
    expect(await lab.readAll(named(id))).toBe("last words\n");
    expect(await lab.readAll(named(id), "stderr")).toBe("");
    expect(await lab.read(named(id))).toBe("");
    await lab.write(named(id), "\n");
    expect(await lab.wait(named(id))).toBe(11);
    await lab.remove(id);
  });

  it("keep what was not read before the wait, and let go of it with the last byte", async () => {
    const id = await lab.up();
    const inside = lab.fds();
    const p = await lab.exec(id, "echo out; echo err >&2");
    expect(await lab.wait(p)).toBe(0);
    expect(await outcome(lab.client.signalProcess({ ...p, signal: 9 }))).toMatch(/^NOT_FOUND/);
    expect(await lab.readAll(p)).toBe("out\n");
    expect(await lab.readAll(p, "stderr")).toBe("err\n");
    expect(await outcome(lab.read(p))).toMatch(/^NOT_FOUND: .*InvalidExecId/);
    const silent = await lab.exec(id, "exit 1");
    expect(await lab.wait(silent)).toBe(1);
    expect(await outcome(lab.read(silent))).toMatch(/^NOT_FOUND/);
    expect(lab.fds()).toBe(inside);
    await lab.remove(id);
  });

  it("give readers the end, not an error, when a wait comes first", async () => {
    const id = await lab.up();
    for (let i = 0; i < 20; i++) {
      const p = await lab.exec(id, "echo a; echo b >&2");
      expect(await Promise.all([lab.wait(p), lab.readAll(p), lab.readAll(p, "stderr")])).toEqual([0, "a\n", "b\n"]);
    }
    await lab.remove(id);
  });

  it.each([["pipes", false], ["terminals", true]])("cost few descriptors when nobody reads them: %s", async (_name, Terminal) => {
    const id = await lab.up();
    const base = lab.fds();
    for (let i = 0; i < 40; i++) {
      const p = await lab.exec(id, "echo unread; echo unread >&2", { terminal: Terminal });
      if (Terminal && i % 2 === 0) await lab.client.closeStdin(p);
      expect(await lab.wait(p)).toBe(0);
    }
    expect(lab.fds() - base).toBeLessThanOrEqual(16);
    await lab.remove(id);
  });

  it("stop the writer, and cost no memory, when the reader is slow", async () => {
    const id = await lab.up("i=0; while [ $i -lt 100 ]; do head -c 1000000 /dev/zero; i=$((i+1)); echo $i >&2; done");
    expect(await lab.read(named(id), 1000)).toHaveLength(1000);
    await lab.client.check();
    const anon = lab.anon();
    // it writes until the pipe is full; what it has done since is not in the agent
    for (let i = 0; i < 200; i++) await lab.client.check();
    expect(await outcome(lab.client.readStderr({ ...named(id), len: 100 }, { timeoutMs: 50 }))).toMatch(/^DEADLINE_EXCEEDED/); // not even its first MB is through
    expect(lab.anon() - anon).toBeLessThan(300);
    await lab.remove(id);
  });

  it("are one on a terminal: resized, merged, ended by a control character or CloseStdin", async () => {
    const id = await lab.up("trap 'stty size' WINCH; stty -echo; echo ready; echo err >&2; cat; echo over; exit 5", withTerminal);
    const p = named(id);
    expect(await lab.expectText(p, "err\r\n")).toContain("ready\r\n");
    expect(await lab.read(p, 100, "stderr")).toBe("");
    await lab.client.ttyWinResize({ ...p, row: 33, column: 132 });
    await lab.write(p, "line\n"); // a shell that waits runs its trap when its child has ended: the size is seen below
    const first = await lab.expectText(p, "line\r\n");
    await lab.write(p, "\x04");
    expect(first + (await lab.expectText(p, "over\r\n"))).toContain("33 132\r\n");
    expect(await lab.read(p)).toBe("");
    expect(await lab.wait(p)).toBe(5);
    await lab.remove(id);
  });

  it("resize and end a terminal of an exec", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "stty -echo; echo ready; while read x; do stty size; done; echo over", { terminal: true });
    await lab.expectText(p, "ready");
    for (const [row, column] of [[24, 80], [2, 3], [999, 2000]] as const) {
      await lab.client.ttyWinResize({ ...p, row, column });
      await lab.write(p, "\n");
      await lab.expectText(p, `${row} ${column}\r\n`);
    }
    await lab.client.closeStdin(p);
    expect(await lab.readAll(p)).toContain("over\r\n");
    expect(await lab.wait(p)).toBe(0);
    const plain = await lab.exec(id, "read x");
    expect(await outcome(lab.client.ttyWinResize({ ...plain, row: 1, column: 1 }))).toMatch(/^UNAVAILABLE: .*no tty/);
    await lab.client.closeStdin(plain);
    expect(await lab.wait(plain)).toBe(1);
    await lab.remove(id);
  });

  it("hang up nothing but interrupt by a terminal's own keys", async () => {
    const id = await lab.up("trap 'echo int' INT; stty -echo; echo ready; read x; read x; exit 4", withTerminal);
    const p = named(id);
    await lab.expectText(p, "ready");
    await lab.write(p, "\x03");
    await lab.expectText(p, "int");
    await lab.write(p, "\n\n");
    expect(await lab.wait(p)).toBe(4);
    await lab.remove(id);
  });

  it("read a large output of a terminal to its end after the process", async () => {
    const id = await lab.up();
    const p = await lab.exec(id, "seq 1 30000", { terminal: true });
    const text = await lab.readAll(p);
    expect(text).toBe(Array.from({ length: 30000 }, (_, i) => `${i + 1}\r\n`).join(""));
    expect(await lab.wait(p)).toBe(0);
    await lab.remove(id);
  });

  it("carry bytes that are no text", async () => {
    const id = await lab.up("exec cat");
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await lab.client.writeStdin({ ...named(id), data: all });
    await lab.client.closeStdin(named(id));
    const pieces: Buffer[] = [];
    await readStream(lab.client, named(id), "stdout", (d) => void pieces.push(Buffer.from(d)));
    expect(Buffer.concat(pieces).equals(all)).toBe(true);
    await lab.wait(named(id));
    await lab.remove(id);
  });

  it("have the size that the settings say", async () => {
    const small = await Lab.start("container_pipe_size = 4096");
    try {
      const id = await small.up("head -c 100000 /dev/zero; echo done >&2");
      expect((await small.client.readStdout({ ...named(id), len: 100000 })).data.length).toBeLessThanOrEqual(4096);
      await small.remove(id);
    } finally {
      await small.stop();
    }
  });

  it("give the last words of a container to who asks for diagnostics", async () => {
    const file = join(lab.folder, "termination");
    const mounted: Change = (spec) => {
      spec["annotations"] = { "io.kubernetes.container.terminationMessagePath": "/dev/termination-log" };
      spec.mounts.push({ destination: "/dev/termination-log", type: "bind", source: file, options: ["bind"] });
    };
    writeFileSync(file, "");
    const id = await lab.up("printf 'x%.0s' $(seq 5000) > /dev/termination-log; printf 'the \\303\\244nd' >> /dev/termination-log", mounted);
    await lab.wait(named(id));
    const { data } = await lab.client.getDiagnosticData({ containerId: id, logType: "termination_log" });
    expect([data.length, data.slice(-8)]).toEqual([4095, "xthe änd"]);
    expect(await outcome(lab.client.getDiagnosticData({ containerId: "ghost", logType: "termination_log" }))).toMatch(/^INTERNAL: Invalid container id: ghost/);
    await lab.remove(id);
    const without = await lab.create(["/bin/true"]);
    expect(await outcome(lab.client.getDiagnosticData({ containerId: without, logType: "termination_log" }))).toMatch(/^INTERNAL: No terminationMessagePath annotation/);
    await lab.remove(without);
  });
});
