// The agent's layers, as data: what each holds, what it must not do, and what it may import. layers.test.ts holds the code to it, and
// agent/README.md shows it; `make gen` writes it there.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

export interface Layer {
  /** The folders below agent/ that it is about. Those of one layer may not import each other. */
  readonly names: readonly string[];
  readonly holds: string;
  readonly never: string;
  /** Besides itself: a layer, one of its files ("sys/call"), or its types alone ("type engine"). */
  readonly imports: readonly string[];
}

/** From the kernel up. A layer imports only from those before it. */
export const LAYERS: readonly Layer[] = [
  { names: ["abi"], imports: [], holds: "numbers of the kernel's interface by their names: system calls, errors, flags, places in structures; what differs by architecture in files that the build chooses from", never: "have any effect" },
  {
    names: ["sys"], imports: ["abi"],
    holds: "system calls by their man-page names; all synchronous, all through `sys/call.ts`",
    never: "log, use promises, wait (four functions do, for processes without a loop: `waitReadable`, `waitFor`, `acceptNext`, `pause`)",
  },
  { names: ["lib"], imports: ["abi", "sys"], holds: "event loop, reaper, forked helpers, listeners and channels, files, log, errors", never: "know containers or RPC" },
  { names: ["oci"], imports: ["abi", "lib/errors", "lib/lazy", "lib/text"], holds: "runtime-spec types, checks and plans: data in, data out", never: "have any effect" },
  { names: ["engine"], imports: ["abi", "sys", "lib", "oci"], holds: "one container: create, child, exec, stdio, cgroups", never: "know a sandbox or a request" },
  { names: ["devices"], imports: ["abi", "sys", "lib", "type oci"], holds: "hot-plug events, device nodes", never: "keep sandbox state" },
  {
    names: ["storage", "network"], imports: ["abi", "sys", "lib", "oci/mounts", "devices"],
    holds: "volumes; links, routes, neighbours", never: "keep sandbox state",
  },
  {
    names: ["sandbox"], imports: ["abi", "sys", "lib", "oci", "engine", "devices", "storage", "network"],
    holds: "the maps of containers and storages, shared namespaces, the create and remove pipelines", never: "see protobuf types",
  },
  {
    names: ["rpc"], imports: ["abi", "sys/call", "sys/utf8", "lib", "type oci", "type engine", "devices", "storage", "network", "sandbox"],
    holds: "frames, dispatch, conversion; a service handler is a check, one call and a reply", never: "make a system call, know how anything is done",
  },
  {
    names: ["cli"], imports: ["abi", "sys", "lib", "oci", "engine"],
    holds: "the commands of an OCI runtime: options, state on disk, streams of the caller; each command calls the engine",
    never: "hold a second way to do what the engine does",
  },
  {
    names: ["init"], imports: ["abi", "sys", "lib", "engine/child/keyring", "devices/modules", "devices/uevent", "sandbox", "rpc", "cli"],
    holds: "what the binary is called as; settings, early mounts, PID 1's duties, wiring", never: "hold logic another layer needs",
  },
];

/** May a file of `layer` import `target` ("sys/call.js"), or only its types? */
export function mayImport(layer: Layer, target: string, onlyTypes: boolean): boolean {
  const path = target.replace(/\.js$/, "");
  const fits = (allowed: string): boolean => path === allowed || path.startsWith(`${allowed}/`);
  return layer.imports.some((allowed) => (allowed.startsWith("type ") ? onlyTypes && fits(allowed.slice(5)) : fits(allowed)));
}

/** Of `native`, which is there for everybody: where each member may be named. The others are pure, and so everywhere. */
export const NATIVE: Readonly<Record<string, readonly string[]>> = {
  syscall: ["sys/call.ts"], seccomp: ["sys/seccomp.ts"], addressOf: ["sys/", "lib/channel.ts"], load: ["lib/lazy.ts", "sys/call.ts"],
  tick: ["lib/loop.ts"], fault: ["lib/loop.ts"], collect: ["lib/loop.ts"], shortLived: ["init/command-line.ts", "engine/birth/spawn.ts"], args: ["init/main.ts", "sys/arguments.ts"], env: ["init/agent.ts", "sys/arguments.ts", "sys/faults.ts"],
};

const cell = (imports: readonly string[]): string => (imports.length === 0 ? "nothing" : imports.map((i) => (i.includes("/") ? `\`${i}.ts\`` : i.startsWith("type ") ? `${i.slice(5)} (types)` : i)).join(", "));

/** The table as agent/README.md has it, between its two marks. */
export function layersPage(): string {
  const native = "| native (C) | QuickJS's boot, the primitives of `sys/native.d.ts`, the interpreter's heap, the embedded bytecode | know a struct, a flag or a container | nothing |";
  const rows = LAYERS.map((l) => `| ${l.names.join(", ")} | ${l.holds} | ${l.never} | ${cell(l.imports)} |`);
  return ["| layer | holds | must not | may import |", "|---|---|---|---|", native, ...rows].join("\n");
}

const BEGIN = "<!-- layers: written by make gen from test/rules/layers-table.ts -->";
const END = "<!-- end of layers -->";
const PAGE = resolve(import.meta.dirname, "../../agent/README.md");

/** agent/README.md with the table as it should be. */
export function withLayers(page: string): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${PAGE}: "${BEGIN}" and "${END}" are not there`);
  return `${page.slice(0, from + BEGIN.length)}\n\n${layersPage()}\n\n${page.slice(to)}`;
}

export const readPage = (): string => readFileSync(PAGE, "utf8");

if (process.argv[1] !== undefined && resolve(process.argv[1]) === join(import.meta.dirname, "layers-table.ts")) writeFileSync(PAGE, withLayers(readPage()));
