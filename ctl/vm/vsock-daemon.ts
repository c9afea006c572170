// The daemon that gives a guest real AF_VSOCK where the host kernel has no vhost-vsock: vhost-device-vsock, from crates, built
// once into the cache outside the tree. It owns that build (one at a time, whole or not at all) and the daemon's command line.
// Source: rust-vmm/vhost-device, crate vhost-device-vsock.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { findProgram, startProgram, waitForFile, type Program } from "./program.js";
import { cacheFolder } from "../../tools/places.js";

const VERSION = "0.3.0";

// Packets of more than about 32,000 bytes come out of a current guest kernel in several pieces of memory, and the daemon drops
// them without a word to either side (its log: DescriptorLengthTooSmall). A guest never sends more at once than this buffer.
const TX_BUFFER = 28 * 1024;

const BUILD_LIMIT_MS = 30 * 60_000;

const home = (): string => join(cacheFolder(), "tools", `vhost-device-vsock-${VERSION}`);
const built = (): string => join(home(), "bin", "vhost-device-vsock");

/** The daemon if it is at hand without building: in the cache or on PATH. */
export const findVsockDaemon = (): string | undefined =>
  existsSync(built()) ? built() : findProgram("vhost-device-vsock");

/** cargo, if there is one. */
export const findCargo = (): string | undefined => findProgram("cargo", join(process.env["HOME"] ?? "/root", ".cargo", "bin"));

// $1 the program wanted, $2 cargo, $3 the folder of a half-made build, $4 the version, $5 the folder of a whole one
const BUILD = `test -x "$1" && exit 0
rm -rf "$3"
nice -n 10 "$2" install --locked --root "$3" --target-dir "$3/target" --version "$4" vhost-device-vsock || { code=$?; rm -rf "$3"; exit $code; }
rm -rf "$3/target" "$5" && mv "$3" "$5"`;

const run = (command: string, args: string[], onLine: (line: string) => void): Promise<number | null> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], timeout: BUILD_LIMIT_MS });
    child.stderr.on("data", (piece: Buffer) => {
      for (const line of piece.toString("utf8").split(/[\r\n]+/)) if (line.trim() !== "") onLine(line.trim());
    });
    child.once("error", reject);
    child.once("close", resolve);
  });

/**
 * Build the daemon with cargo into the cache. Two at once wait for each other; a failed build leaves nothing.
 * `progress` gets a line now and then. Throws Error with the compiler's last words.
 */
export const buildVsockDaemon = async (progress: (line: string) => void): Promise<string> => {
  const cargo = findCargo();
  if (cargo === undefined) throw new Error("vhost-device-vsock cannot be built: cargo is not installed");
  const tools = join(cacheFolder(), "tools");
  mkdirSync(tools, { recursive: true });
  const said: string[] = [];
  // flock(1) holds the lock exactly as long as the build lives, also when we are killed; what an earlier one left is removed.
  const code = await run("flock", [join(tools, ".vhost-device-vsock.lock"), "sh", "-c", BUILD, "sh", built(), cargo, join(tools, ".half-vhost-device-vsock"), VERSION, home()], (line) => {
    said.push(line);
    progress(`vhost-device-vsock: ${line}`);
  });
  if (code !== 0 || !existsSync(built())) throw new Error(`vhost-device-vsock could not be built (cargo ended with ${code}): ${said.slice(-5).join(" | ")}`);
  return built();
};

export interface VsockDaemon {
  program: Program;
  /** Socket for QEMU. */
  vhostSocket: string;
  /** Socket for us, with the CONNECT handshake. */
  hostSocket: string;
}

/** Start one daemon for one VM; its sockets are in `folder`. Throws Error with the daemon's last words. */
export const startVsockDaemon = async (daemon: string, folder: string): Promise<VsockDaemon> => {
  const vhostSocket = join(folder, "vhost.sock");
  const hostSocket = join(folder, "vsock.sock");
  const program = await startProgram(daemon, ["--guest-cid", "3", "--socket", vhostSocket, "--uds-path", hostSocket, "--tx-buffer-size", String(TX_BUFFER)], { log: join(folder, "vsock-daemon.log") });
  try {
    await waitForFile(vhostSocket, program, 5_000);
  } catch (error) {
    await program.kill();
    throw error;
  }
  return { program, vhostSocket, hostSocket };
};
