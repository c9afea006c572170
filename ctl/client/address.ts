// Addresses of an agent, as people write them, and their parts. Pure. Forms:
//   unix:///path or unix://@abstract      a socket of this machine
//   vsock://<cid>:<port>                  a guest, through the kernel's vsock
//   hybrid:///path[:port]                 a guest, through a VMM's socket and its CONNECT handshake (port 1024 unless given)
//   serial:///path                        a guest, through the socket of a virtio-serial port

export type Address =
  | { kind: "unix"; path: string }
  | { kind: "vsock"; cid: number; port: number }
  | { kind: "hybrid"; path: string; port: number }
  | { kind: "serial"; path: string };

/** vsock port on which the agent listens unless told otherwise. */
export const AGENT_PORT = 1024;

const FORMS = "unix://PATH, vsock://CID:PORT, hybrid://PATH[:PORT] or serial://PATH";

const bad = (text: string, why: string): Error => new Error(`bad address '${text}': ${why}; use ${FORMS}`);

const portOf = (text: string, digits: string): number => {
  const port = Number(digits);
  if (!Number.isInteger(port) || port < 0 || port > 0xffffffff) throw bad(text, `'${digits}' is no port number`);
  return port;
};

/** The parts of an address. Throws Error that names the text and the forms there are. */
export const parseAddress = (text: string): Address => {
  const cut = text.indexOf("://");
  if (cut < 0) throw bad(text, "it has no scheme");
  const scheme = text.slice(0, cut);
  const rest = text.slice(cut + 3);
  if (rest === "") throw bad(text, "nothing follows the scheme");
  if (scheme === "unix") return { kind: "unix", path: rest };
  if (scheme === "serial") return { kind: "serial", path: rest };
  if (scheme === "hybrid") {
    const match = /^(.+):(\d+)$/.exec(rest);
    return match ? { kind: "hybrid", path: match[1] ?? "", port: portOf(text, match[2] ?? "") } : { kind: "hybrid", path: rest, port: AGENT_PORT };
  }
  if (scheme === "vsock") {
    const match = /^(\d+)(?::(\d+))?$/.exec(rest);
    if (!match) throw bad(text, "a vsock address is two numbers");
    return { kind: "vsock", cid: portOf(text, match[1] ?? ""), port: match[2] === undefined ? AGENT_PORT : portOf(text, match[2]) };
  }
  throw bad(text, `'${scheme}' is no scheme of ours`);
};

/** An address as text; parseAddress reads it back. */
export const formatAddress = (address: Address): string => {
  if (address.kind === "vsock") return `vsock://${address.cid}:${address.port}`;
  return address.kind === "hybrid" ? `hybrid://${address.path}:${address.port}` : `${address.kind}://${address.path}`;
};
