// The command line of the host side: words to commands, errors to exit status. It holds no logic of its own.
import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { callCommand } from "./commands/call.js";
import { execCommand } from "./commands/exec.js";
import { completion, SHELLS, type Shell } from "./commands/completion.js";
import { doctorCommand } from "./commands/doctor.js";
import { errorText, EXIT_OURS, exitStatus } from "./commands/exit.js";
import { grouped, saysDefault } from "./commands/help.js";
import { bootCommand, psCommand, stopCommand } from "./commands/machines.js";
import { MACHINE_OPTIONS, parseBytes, parseEnv, parsePositive, parseSeconds, timeText, withVmOptions } from "./commands/options.js";
import { runCommand } from "./commands/run.js";
import { neverWait } from "./container/terminal.js";
import { wholeProcess } from "./lifetime.js";

const say = (line: string): void => void process.stderr.write(`katactl: ${line}\n`);

let status = 0;
const then = <A extends unknown[]>(command: (...args: A) => number | Promise<number>) => async (...args: A): Promise<void> => {
  status = await command(...args);
};

// Options end at the first word that is none; a `--` after it is the user's mark for that, not part of the command.
const words = (command: string[]): string[] => (command[0] === "--" ? command.slice(1) : command);

const list = (text: string, so_far: string[]): string[] => [...so_far, text];

const program = new Command("katactl")
  .description("Boot small VMs with kata-agent as their init, and run containers in them.")
  .enablePositionalOptions()
  .exitOverride();

/** An option of docker that means nothing here: the command goes on, or ends with the reason. */
const foreign = (flags: string, reason: string, refused: boolean): Option =>
  new Option(flags).hideHelp().argParser(() => {
    if (refused) throw new InvalidArgumentError(reason);
    say(`${flags.split(/[ ,]+/).find((word) => word.startsWith("--")) ?? flags}: ${reason}`);
    return true;
  });

grouped(withVmOptions(program.command("run"))
  .description("run one container in a VM of its own; its output is ours, its exit status too")
  .argument("<container-image>", "OCI layout folder, docker-save or OCI tar, root file system tar, or bundle folder")
  .argument("[command...]", "command and arguments, after --")
  .option("-i, --interactive", "send our standard input to the container")
  .option("-t, --tty", "give the container a terminal")
  .option("-e, --env <NAME=value>", "set an environment variable (again for more)", parseEnv, [] as string[])
  .option("-w, --workdir <path>", "working directory")
  .option("-u, --user <user[:group]>", "run as this user")
  .option("-m, --memory <size>", "memory limit of the container", parseBytes)
  .option("--cpus <n>", "processor limit of the container", parsePositive)
  .option("--name <name>", "name of VM and container")
  .option("--ref <name>", "which image, when the file holds several", "")
  .option("--keep", "keep the logs and say where they are")
  .option("--json", "tell how it went as one JSON line on stderr")
  .option("-d, --detach", "leave it running in the background and print its name; its output goes into a file that is told")
  .option("-v, --verbose", "tell the machine, how it is reached, and times")
  .option("-q, --quiet", "say nothing but errors, not even what is going on")
  .addOption(foreign("--rm", "nothing is ever left of a container that has ended", false))
  .addOption(foreign("-p, --publish <ports>", "the VM has no network that ports could be published of", true))
  .passThroughOptions()
  .action(then((image: string, command: string[], options) => runCommand(image, words(command), options))), {
  container: ["--interactive", "--tty", "--env", "--workdir", "--user", "--memory", "--cpus", "--name", "--ref", "--detach"],
  machine: MACHINE_OPTIONS, output: ["--keep", "--json", "--verbose", "--quiet"],
});

grouped(program.command("exec")
  .description("run one more command in a container of a running VM")
  .argument("<vm>", "name of the VM, or of the container with --address")
  .argument("<command...>", "command and arguments, after --")
  .option("-i, --interactive", "send our standard input")
  .option("-t, --tty", "give the command a terminal")
  .option("-e, --env <NAME=value>", "set an environment variable (again for more)", parseEnv, [] as string[])
  .option("-w, --workdir <path>", "working directory", "/")
  .option("-u, --user <uid[:gid]>", "run as this user", "0:0")
  .option("--container <id>", "which container in the VM")
  .option("--address <address>", "address of the agent instead of a VM's name")
  .passThroughOptions()
  .action(then((vm: string, command: string[], options) => execCommand(vm, words(command), options))), {
  container: ["--interactive", "--tty", "--env", "--workdir", "--user", "--container"], machine: ["--address"],
});

program.command("ctl")
  .description("make any call of the agent's API")
  .argument("<call>", "for instance Check, CreateSandbox, StatsContainer")
  .argument("[json]", "the request; names as in protos/*.proto or in camelCase, bytes as base64", "{}")
  .option("--address <address>", "unix://PATH, vsock://CID:PORT, hybrid://PATH[:PORT] or serial://PATH")
  .option("--vm <name>", "a running VM by its name")
  .option("--timeout <seconds>", "time the call gets", parseSeconds)
  .option("--compact", "answer in one line")
  .action(then((name: string, json: string, options) => callCommand(name, json, options)));

grouped(withVmOptions(program.command("boot"))
  .description("boot a VM, print its name and address, keep it until Ctrl-C")
  .option("--name <name>", "name of the VM")
  .option("-d, --detach", "keep it in the background; end it with stop")
  .option("--disk <file>", "disk for the VM (again for more)", list, [] as string[])
  .option("--share <folder>", "share a folder through virtio-fs")
  .option("--ninep <folder>", "share a folder through 9p")
  .option("--json", "print one JSON line")
  .option("-q, --quiet", "say nothing but errors")
  .action(then((options) => bootCommand(options))), {
  machine: ["--name", "--detach", "--disk", "--share", "--ninep", ...MACHINE_OPTIONS], output: ["--json", "--quiet"],
});

program.command("ps").description("list running VMs").option("--json", "as JSON").action(then((options: { json?: boolean }) => psCommand(options)));

saysDefault(program.command("stop")
  .description("end a running VM")
  .argument("<vm>", "its name")
  .option("--timeout <seconds>", "how long to wait", parseSeconds, 10_000)
  .action(then((name: string, options: { timeout: number }) => stopCommand(name, options))), "--timeout", timeText(10_000));

program.command("doctor")
  .description("what this machine has for VMs and containers, and what to do about what is missing")
  .option("--json", "as JSON")
  .action(then((options: { json?: boolean }) => doctorCommand(options)));

program.command("completion")
  .description("print a script for your shell that completes commands and options")
  .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
  .action((shell: Shell) => void process.stdout.write(completion(program, shell)));

// A reader that went away (`katactl ps | head`, the parent of a detached VM) is no reason to fail.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
neverWait(process.stderr); // what is said here is short, and no reason to hold up a VM's end

// Node makes text of all arguments; bytes that are none would name another file or say something else to a container.
const checkArguments = (): void => {
  if (process.argv.some((word) => word.includes("\ufffd")) && !isUtf8(readFileSync("/proc/self/cmdline"))) throw new Error("an argument is not UTF-8 text: it cannot be passed on as it is");
};

const work = async (): Promise<number> => {
  try {
    checkArguments();
    await program.parseAsync();
    return status;
  } catch (error) {
    // commander has already printed its own errors and help texts.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_OURS;
    say(errorText(error));
    return exitStatus(error);
  }
};

wholeProcess(work, { failed: EXIT_OURS, say, text: errorText });
