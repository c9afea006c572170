// From an address to an open byte stream. It owns the CONNECT handshake of VMM sockets and the bridge that stands in for
// AF_VSOCK, which Node cannot open itself (socat, one process for each connection). It never speaks ttRPC.
// Source: Firecracker docs/vsock.md (handshake), socat(1).
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { parseAddress, type Address } from "./address.js";

/** A connection that could not be made; `retry` says whether trying again later makes sense (nobody listens yet). */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
  constructor(message: string, readonly retry: boolean, options?: ErrorOptions) {
    super(message, options);
  }
}

const RETRY_CODES = new Set(["ENOENT", "ECONNREFUSED", "EAGAIN", "ECONNRESET", "EPIPE"]);

const openUnix = (path: string, timeoutMs: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path: path.startsWith("@") ? `\0${path.slice(1)}` : path });
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    const fail = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new ConnectError(`cannot connect to ${path}: ${error.message}`, RETRY_CODES.has(error.code ?? ""), { cause: error }));
    };
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      resolve(socket);
    });
  });

/** Longest answer line to a CONNECT; the real one is `OK <port>`. */
const MAX_ANSWER = 64;

const shake = (socket: Socket, port: number, timeoutMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let line = Buffer.alloc(0);
    const done = (error?: ConnectError): void => {
      clearTimeout(timer);
      socket.off("data", onData).off("error", onError).off("close", onClose);
      if (error === undefined) return resolve();
      socket.destroy();
      reject(error);
    };
    const onData = (piece: Buffer): void => {
      line = Buffer.concat([line, piece]);
      const end = line.indexOf(0x0a);
      if (end < 0) return line.length > MAX_ANSWER ? done(new ConnectError("answer to CONNECT is no line", false)) : undefined;
      const text = line.subarray(0, end).toString("latin1");
      if (!/^OK \d+$/.test(text)) return done(new ConnectError(`CONNECT ${port} was answered '${text}'`, false));
      socket.pause();
      if (end + 1 < line.length) socket.unshift(line.subarray(end + 1));
      done();
    };
    const onError = (error: Error): void => done(new ConnectError(`CONNECT ${port}: ${error.message}`, true, { cause: error }));
    const onClose = (): void => done(new ConnectError(`CONNECT ${port}: nobody listens on that port in the guest`, true));
    const timer = setTimeout(() => done(new ConnectError(`CONNECT ${port}: no answer within ${timeoutMs} ms`, true)), timeoutMs);
    socket.on("data", onData).on("error", onError).on("close", onClose);
    socket.write(`CONNECT ${port}\n`);
  });

const openHybrid = async (path: string, port: number, timeoutMs: number): Promise<Duplex> => {
  const socket = await openUnix(path, timeoutMs);
  await shake(socket, port, timeoutMs);
  return socket;
};

const openVsock = (cid: number, port: number, timeoutMs: number): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    // With three -d and nothing less socat says when it is connected; its own data path stays untouched on stdin and stdout.
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
    const bridge = spawn("socat", ["-d", "-d", "-d", "-", `VSOCK-CONNECT:${cid}:${port},connect-timeout=${seconds}`], { stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    bridge.once("error", (error: NodeJS.ErrnoException) => {
      const text = error.code === "ENOENT" ? "socat is not installed (Debian package socat)" : error.message;
      reject(new ConnectError(`cannot connect to vsock ${cid}:${port}: ${text}`, false, { cause: error }));
    });
    bridge.once("exit", () => {
      const why = /\bE\b(.*)/.exec(said)?.[1]?.trim() ?? "socat ended";
      reject(new ConnectError(`cannot connect to vsock ${cid}:${port}: ${why}`, true));
    });
    bridge.stderr.on("data", (piece: Buffer) => {
      said = (said + piece.toString("utf8")).slice(-4096);
      if (!said.includes("starting data transfer loop")) return;
      const stream = Duplex.from({ writable: bridge.stdin, readable: bridge.stdout });
      stream.once("close", () => bridge.kill());
      resolve(stream);
    });
  });

/**
 * Open a byte stream to an agent. `timeoutMs` limits each step of the opening.
 * Rejects with ConnectError.
 */
export const openStream = (address: Address | string, timeoutMs = 10_000): Promise<Duplex> => {
  const to = typeof address === "string" ? parseAddress(address) : address;
  if (to.kind === "vsock") return openVsock(to.cid, to.port, timeoutMs);
  return to.kind === "hybrid" ? openHybrid(to.path, to.port, timeoutMs) : openUnix(to.path, timeoutMs);
};
