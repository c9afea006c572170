// A folder of the host in the guest through virtio-fs: finds and starts virtiofsd. It owns the daemon's command line.
// Source: virtiofsd(1) of QEMU 7.2, and the usage of the Rust virtiofsd.
import { join } from "node:path";
import { statSync } from "node:fs";
import { findProgram, startProgram, waitForFile, type Program } from "./program.js";

/** Tag under which Kata's hosts offer the shared folder. */
export const SHARE_TAG = "kataShared";

/** virtiofsd, if installed: on PATH or where QEMU packages put it. */
export const findVirtiofsd = (): string | undefined => findProgram("virtiofsd", "/usr/lib/qemu", "/usr/libexec", "/usr/lib/virtiofsd");

export interface VirtiofsDaemon {
  program: Program;
  socket: string;
}

// The C daemon of QEMU takes its settings as -o words, the Rust one as options of their own.
const daemonArgs = (daemon: string, socket: string, source: string): string[] =>
  daemon.startsWith("/usr/lib/qemu/") || daemon.startsWith("/usr/libexec/qemu")
    ? ["-f", `--socket-path=${socket}`, "--rlimit-nofile=0", "-o", `source=${source}`, "-o", "cache=auto", "-o", "sandbox=chroot", "-o", "xattr", "-o", "log_level=warn"]
    : ["--socket-path", socket, "--shared-dir", source, "--cache", "auto", "--sandbox", "chroot", "--xattr", "--log-level", "warn", "--rlimit-nofile", "0"];

/** Start virtiofsd for `source`. Throws Error when it is not installed, the folder is missing or it ends at its start. */
export const startVirtiofsd = async (source: string, folder: string): Promise<VirtiofsDaemon> => {
  const daemon = findVirtiofsd();
  if (daemon === undefined) throw new Error("virtiofsd is not installed (Debian package qemu-system-common, later virtiofsd)");
  if (!statSync(source, { throwIfNoEntry: false })?.isDirectory()) throw new Error(`the folder to share, ${source}, does not exist`);
  const socket = join(folder, "virtiofs.sock");
  const program = await startProgram(daemon, daemonArgs(daemon, socket, source), { log: join(folder, "virtiofsd.log") });
  try {
    await waitForFile(socket, program, 5_000);
  } catch (error) {
    await program.kill();
    throw error;
  }
  return { program, socket };
};
