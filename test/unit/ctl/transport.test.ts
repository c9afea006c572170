// Addresses and the ways to open a stream: what is refused, and the CONNECT handshake in its good and bad forms.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { formatAddress, parseAddress } from "../../../ctl/client/address.js";
import { connectAgent } from "../../../ctl/client/connect.js";
import { fakeAgent, type FakeAgent } from "../../helpers/fake-agent.js";

const open: FakeAgent[] = [];
afterEach(async () => {
  for (const agent of open.splice(0)) await agent.close();
});

const serving = (): object => ({ status: "SERVING" });

/** A server that reads the CONNECT line and answers it with `answer` (or by hanging up). */
const hybrid = async (answer: (line: string) => string | undefined): Promise<FakeAgent> => {
  const agent = await fakeAgent(serving, (socket: Socket, go) => {
    socket.once("data", (line: Buffer) => {
      const text = answer(line.toString());
      if (text === undefined) return socket.destroy();
      go();
      return socket.write(text);
    });
  });
  open.push(agent);
  return agent;
};

describe("addresses", () => {
  it.each(["unix:///run/a.sock", "unix://@abstract", "vsock://3:1024", "hybrid:///run/v.sock:1024", "serial:///run/s.sock"])("reads and writes %s", (text) => {
    expect(formatAddress(parseAddress(text))).toBe(text);
  });
  it("fills in the agent's port", () => {
    expect(parseAddress("vsock://3")).toEqual({ kind: "vsock", cid: 3, port: 1024 });
    expect(parseAddress("hybrid:///v")).toEqual({ kind: "hybrid", path: "/v", port: 1024 });
  });
  it.each(["", "/run/a.sock", "unix://", "tcp://1.2.3.4:5", "vsock://a:b", "vsock://3:99999999999"])("refuses '%s' and names the forms", (text) => {
    expect(() => parseAddress(text)).toThrow(/bad address .*unix:\/\/PATH/s);
  });
});

describe("opening a stream", () => {
  it("shakes hands with a VMM's socket", async () => {
    let asked = "";
    const agent = await hybrid((line) => ((asked = line), "OK 1073741824\n"));
    const client = await connectAgent(`hybrid://${agent.path}:1024`);
    expect(asked).toBe("CONNECT 1024\n");
    await expect(client.check()).resolves.toEqual({ status: "SERVING" });
    client.close();
  });
  it("says so when the port is refused", async () => {
    const agent = await hybrid(() => undefined);
    await expect(connectAgent(`hybrid://${agent.path}:77`)).rejects.toThrow(/CONNECT 77: nobody listens/);
  });
  it("says what was answered when it is not OK", async () => {
    const agent = await hybrid(() => "NO\n");
    await expect(connectAgent(`hybrid://${agent.path}`)).rejects.toThrow(/was answered 'NO'/);
  });
  it("does not read for ever when the answer is no line", async () => {
    const agent = await hybrid(() => "x".repeat(500));
    await expect(connectAgent(`hybrid://${agent.path}`)).rejects.toThrow(/no line/);
  });
  it("names the socket that is not there", async () => {
    await expect(connectAgent("unix:///nonexistent/agent.sock")).rejects.toThrow(/cannot connect to \/nonexistent\/agent.sock.*ENOENT/);
  });
  it("waits for an agent that is not there yet", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wait-"));
    const first = await fakeAgent(serving);
    open.push(first);
    // The socket appears after the first tries: a link made by a later turn of the loop stands for the late agent.
    const link = join(folder, "late.sock");
    const { symlinkSync } = await import("node:fs");
    setTimeout(() => symlinkSync(first.path, link), 60);
    const client = await connectAgent(`unix://${link}`, { waitMs: 120_000 });
    expect(client.connection.open).toBe(true);
    client.close();
    rmSync(folder, { recursive: true });
  });
});
