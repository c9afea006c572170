// Owns the command line: argv to a command, exit codes, and how a failure is told. Every path a user gives is relative to where
// he stands; every default lies in the project. Must never leave a child process or a half-written file behind on Ctrl-C.
import { join } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { wholeProcess } from "../ctl/lifetime.js";
import { cacheFolder, distFile, distFolder, projectRoot } from "../tools/places.js";
import type { AgentOptions } from "./commands/agent.js";
import { clean } from "./commands/clean.js";
import { image } from "./commands/image.js";
import { initrd } from "./commands/initrd.js";
import { kernel } from "./commands/kernel.js";
import { ready } from "./commands/ready.js";
import type { Context } from "./lib/context.js";
import { BuildError, EXIT, explainDisk } from "./lib/errors.js";
import type { Json } from "./lib/hash.js";
import { progress } from "./lib/progress.js";

const more = (one: string, all: readonly string[] = []): readonly string[] => [...all, one];
const stop = new AbortController();

interface Shared {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("wanted a whole number from 1");
  return value;
}

/** Runs one command's work with a context; prints its answer as JSON when asked. */
function doing<O>(work: (context: Context, options: O) => Promise<Json>): (options: O & Shared) => Promise<void> {
  return async (options) => {
    const context: Context = { root: projectRoot, dist: distFolder, cache: cacheFolder(), progress: progress(options.quiet === true), signal: stop.signal };
    try {
      const answer = await work(context, options);
      const { report, ...rest } = answer as { readonly report?: string };
      if (report !== undefined) process.stdout.write(options.json === true ? `${JSON.stringify(rest, null, 2)}\n` : report);
      else if (options.json === true) process.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
    } finally {
      context.progress.end();
    }
  };
}

function command(name: string, what: string): Command {
  return new Command(name).description(what).option("--json", "print the result as JSON on standard output").option("--quiet", "no progress on standard error");
}

function withRoot(on: Command): Command {
  return on.option("--agent <file>", "the static program that becomes /init", distFile("kata-agent"))
    .option("--modules <dir>", "the kernel's modules, for a kernel that needs some to boot: a folder lib/modules/RELEASE or what holds one; auto: those beside the output, if any; none", "auto")
    .option("--module <name>", "one more module than kernel-configs/modules.txt lists (may be repeated)", more)
    .option("--rootfs <dir>", "folder with files.json and overlay/", join(projectRoot, "rootfs"))
    .option("--arch <name>", "the guest's architecture", "x86_64");
}

function program(): Command {
  const top = new Command("image-builder").description("Makes the agent and the guest's kernel, initrd and disk image, reproducibly and without root.")
    .addHelpText("after", `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 an input or a program is missing, 4 a kernel fragment, files.json or profiles.json is
refused, 5 a source cannot be fetched, 130 interrupted. Cache: KATA_CACHE (now ${cacheFolder()}). SOURCE_DATE_EPOCH sets the files' times.`);
  top.addCommand(command("agent", "compile the agent's TypeScript and C to one static binary")
    .option("--debug", "the twin with ASAN and UBSAN, line numbers and faults that can be injected (dynamic)")
    .option("--output <file>", "the file to write (default: kata-agent or kata-agent.debug in dist)")
    .option("--entry <file>", "the first module, instead of agent/init/main.ts")
    .addOption(new Option("--arch <name>", "the guest's architecture").env("TARGET_ARCH").default(process.arch === "arm64" ? "aarch64" : "x86_64"))
    .addOption(new Option("--quickjs <dir>", "an unpacked source of QuickJS, instead of the pinned Debian source package").env("QUICKJS_SRC"))
    .addOption(new Option("--libseccomp <dir>", "an unpacked source of libseccomp, instead of the pinned one").env("LIBSECCOMP_SRC"))
    .action(doing(async (context, options: AgentOptions) => (await import("./commands/agent.js")).agent(context, options)))); // its bundlers take long to load
  top.addCommand(command("kernel", "make bzImage and vmlinux: compiled with the fragments in kernel-configs/, or taken from a distribution")
    .option("--from <what>", "a ready-made kernel: debian (the pinned linux-image-cloud-amd64), a .deb file (may be repeated), or a folder with a vmlinuz and its modules", more)
    .option("--check <config>", "make nothing; tell what of the agent would not work on a kernel: its configuration (also /proc/config.gz), the kernel, a package, a folder, or debian")
    .option("--ready", "whichever is at hand: our own kernel when the cache has it, else the pinned one of Debian; compiles nothing")
    .option("--source <path>", "a Linux tarball or tree, instead of the pinned Debian package")
    .option("--arch <name>", "architecture", "x86_64")
    .option("--no-patches", "compile the source without the patches in the configs folder")
    .option("--configs <dir>", "folder with common/ and <arch>/ fragments", join(projectRoot, "kernel-configs"))
    .option("--fragment <file>", "one more fragment (may be repeated)", more, [] as readonly string[])
    .option("--output <dir>", "where bzImage, vmlinux, kernel.config and modules/ go", distFolder)
    .option("--jobs <n>", "compile jobs at once (default: number of processors)", count)
    .option("--config-only", "configure and check the requests, compile nothing")
    .option("--verify", "build a second time elsewhere and compare with the built kernel")
    .action(doing(kernel)));
  top.addCommand(withRoot(command("initrd", "write the initrd: the agent as /init in a newc archive"))
    .option("--output <file>", "the file to write", distFile("initrd.img"))
    .option("--compress <method>", "raw, lz4, zstd or gzip", "raw")
    .action(doing(initrd)));
  top.addCommand(withRoot(command("image", "write the same root as a read-only disk image without partitions"))
    .option("--output <file>", "the file to write", distFile("rootfs.img"))
    .option("--fs <name>", "erofs or ext4", "erofs")
    .option("--lz4", "compress the erofs (lz4hc)")
    .action(doing(image)));
  top.addCommand(command("ready", "everything that a VM needs, of what is at hand: kernel --ready and initrd, with --agent the agent too")
    .option("--agent", "compile the agent, while the kernel is fetched")
    .option("--from <what>", "the kernel, instead of what is at hand: as kernel --from", more)
    .option("--arch <name>", "the guest's architecture", "x86_64")
    .action(doing(ready)));
  top.addCommand(command("clean", "remove what was built in dist")
    .option("--output <dir>", "the folder to clean", distFolder)
    .option("--cache", "remove compiled kernels, images and downloads from the cache too")
    .action(doing(clean)));
  for (const sub of [top, ...top.commands]) sub.exitOverride().configureOutput({ outputError: (text, write) => write(text) });
  return top;
}

function tell(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const known = stop.signal.aborted ? new BuildError("interrupted", "interrupted; nothing half-made is left") : explainDisk(error, "the output or cache folder");
  if (known instanceof BuildError) {
    process.stderr.write(`image-builder: ${known.message}\n${known.hint === "" ? "" : `${known.hint.replace(/^/gm, "  -> ")}\n`}`);
    return EXIT[known.failure];
  }
  process.stderr.write(`image-builder: unexpected failure (a defect): ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
  return EXIT.failed;
}

for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop.abort());
const work = async (): Promise<number> => {
  try {
    await program().parseAsync();
    return EXIT.ok;
  } catch (error) {
    return tell(error);
  }
};
wholeProcess(work, { failed: EXIT.failed, say: (line) => void process.stderr.write(`image-builder: ${line}\n`), text: String });
