// Kernel modules in the guest: in which order they are loaded, with which parameters, what is told of those that cannot be, and what the
// kernel's own requests, whose names containers choose, may cause. The kernel here is a table of files that takes modules.
import { answerCalls } from "../../helpers/fake-native.js";
import { beforeEach, describe, expect, it } from "vitest";

const SPACE = 2 ** 24; // addresses of one buffer
const buffers: Uint8Array[] = [];
(globalThis as unknown as { native: { addressOf: (b: Uint8Array | ArrayBuffer) => number } }).native.addressOf = (b) => {
  const view = b instanceof Uint8Array ? b : new Uint8Array(b);
  return buffers.push(new Uint8Array(view.buffer)) * SPACE + view.byteOffset;
};
const memory = (address: number): Uint8Array => (buffers[Math.floor(address / SPACE) - 1] as Uint8Array).subarray(address % SPACE);

const { NR } = (await import("../../../agent/abi/nr.js")) as unknown as { readonly NR: Record<string, number> };
const { E } = (await import("../../../agent/abi/errno.js")) as unknown as { readonly E: Record<string, number> };
const { loadFor, loadForDevices, loadModule, haveModules, otherKernels } = await import("../../../agent/devices/modules.js");
const { answer } = await import("../../../agent/init/modprobe.js");
const { isHelper } = await import("../../../agent/init/names.js");

const callName = new Map(Object.entries(NR).map(([name, n]) => [n, name]));
const RELEASE = "6.1.0-1-cloud-amd64";
const HOME = `/lib/modules/${RELEASE}`;

let files: Map<string, string>;
/** What was given to the kernel, in order: the module and its parameters. */
let loaded: string[];
let refuse: Record<string, number>;
let paths: string[];
let open: Map<number, { readonly path: string; at: number }>;
let exits: number[];

const isFolder = (path: string): boolean => [...files.keys()].some((f) => f.startsWith(`${path}/`));
const entries = (path: string): string[] => [...new Set([...files.keys()].filter((f) => f.startsWith(`${path}/`)).map((f) => f.slice(path.length + 1).split("/")[0] as string))];

function directory(names: readonly string[], into: Uint8Array): number {
  let at = 0;
  for (const name of names) {
    const size = 24 + name.length;
    new DataView(into.buffer, into.byteOffset).setUint16(at + 16, size, true);
    into.set(Buffer.from(`${name}\0`), at + 19);
    at += size;
  }
  return at;
}

function kernel(nr: number, args: readonly unknown[]): number {
  const name = callName.get(nr);
  const [a, b, c] = args as [number, number, number];
  switch (name) {
    case "openat": {
      const path = args[1] as string;
      paths.push(path);
      if ((c & 0o100) !== 0) files.set(path, "");
      if (!files.has(path) && !isFolder(path)) return -(E["ENOENT"] as number);
      const n = open.size + 3;
      open.set(n, { path, at: 0 });
      return n;
    }
    case "faccessat2":
      paths.push(args[1] as string);
      return files.has(args[1] as string) || isFolder(args[1] as string) ? 0 : -(E["ENOENT"] as number);
    case "read": {
      const file = open.get(a) as { path: string; at: number };
      const piece = Buffer.from(files.get(file.path) ?? "").subarray(file.at, file.at + c);
      memory(b).set(piece);
      file.at += piece.length;
      return piece.length;
    }
    case "write": {
      const file = open.get(a) as { path: string; at: number };
      const bytes = typeof args[1] === "string" ? Buffer.from(args[1]) : typeof b === "number" ? memory(b).subarray(0, c) : (args[1] as Uint8Array).subarray(0, c);
      files.set(file.path, (files.get(file.path) ?? "") + Buffer.from(bytes).toString());
      return bytes.length;
    }
    case "getdents64": {
      const file = open.get(a) as { path: string; at: number };
      return file.at++ > 0 ? 0 : directory(entries(file.path), args[1] as Uint8Array);
    }
    case "finit_module": {
      const module = ((open.get(a) as { path: string }).path.split("/").at(-1) as string).replace(/\.ko$/, "");
      const errno = refuse[module];
      loaded.push(`${module} ${args[1] as string}`.trim());
      if (errno !== undefined) return -errno;
      files.set(`/sys/module/${module}/initstate`, "live\n");
      return 0;
    }
    case "exit_group":
      exits.push(a);
      throw new Error("left");
    case "close":
      return 0;
    default:
      throw new Error(`unexpected call ${name ?? nr}`);
  }
}

const INDEX = `a b,c,d fs_a net_pf_99
b -
c b virtio:d00000001v*
d b,c crypto_d
e - pci:v00001AF4d*sv*
= ext4 loop
`;

beforeEach(() => {
  files = new Map([
    ["/proc/sys/kernel/osrelease", `${RELEASE}\n`], ["/proc/cmdline", "quiet c.debug=1 d.x=2 unrelated.y=3 a-b.z=1\n"], [`${HOME}/kata-modules`, INDEX], ["/dev/kmsg", ""],
    ...["a", "b", "c", "d", "e"].map((m) => [`${HOME}/${m}.ko`, "elf"] as const),
    ["/sys/module/printk/parameters/time", "Y\n"], ["/sys/module/coming/initstate", "coming\n"],
  ]);
  [loaded, refuse, paths, open, exits] = [[], {}, [], new Map(), []];
  answerCalls(kernel);
});

const thrown = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  return "nothing";
};
const quietly = { trouble: (error: unknown): never => { throw error; } };

describe("a module", () => {
  it("comes after what it needs, with what the command line says to each, once", () => {
    expect(loadModule("a", ["p=1", "q=two words"])).toBe(true);
    expect(loaded).toEqual(["b", "c debug=1", "d x=2", 'a p=1 q="two words"']);
    expect(loadModule("a", ["p=2"])).toBe(false);
    expect(loaded.length).toBe(4);
  });

  it("that another process is loading is waited for, not taken for loaded", () => {
    files.set("/sys/module/b/initstate", "coming\n");
    refuse["b"] = E["EEXIST"] as number;
    expect(loadModule("b")).toBe(false);
    expect(loaded).toEqual(["b"]);
  });

  it("that is built in is there", () => {
    expect([loadModule("ext4"), loadModule("printk"), loaded.length]).toEqual([false, false, 0]);
  });

  it("answers to an alias as with modprobe", () => {
    expect([loadModule("fs-a"), loaded.at(-1)]).toEqual([true, "a"]);
  });

  it.each(["", ".", "..", "../a", "/a", "a/../a", "a b", "a\nb", "a\0", "a.ko", "*", "=", "-", "no-such", "a".repeat(60_000)])("of the name %j is none of the image, and no path is made of it", (name) => {
    const said = thrown(() => loadModule(name));
    expect(said).toBe(`there is no kernel module ${name} in the image`);
    expect(loaded).toEqual([]);
    for (const path of paths) expect(path).toMatch(/^\/(proc\/(cmdline|sys\/kernel\/osrelease)|lib\/modules\/[^/]+\/kata-modules|sys\/module\/\w+)$/);
  });

  it.each([
    ["ENOEXEC", "the kernel refuses the module b: finit_module: ENOEXEC: Exec format error (it was not made for this kernel, 6.1.0-1-cloud-amd64)"],
    ["ENOENT", "the kernel refuses the module b: finit_module: ENOENT: No such file or directory (a symbol or parameter that it does not know, see the kernel's log)"],
    ["EKEYREJECTED", "the kernel refuses the module b: finit_module: EKEYREJECTED: Key was rejected by service (its signature)"],
    ["EPERM", "the kernel refuses the module b: finit_module: EPERM: Operation not permitted"],
  ])("that the kernel refuses with %s is one line", (code, message) => {
    refuse["b"] = E[code] as number;
    expect(thrown(() => loadModule("a"))).toBe(message);
    expect(loaded).toEqual(["b"]);
  });

  it("that is in the index and not in the image is one line", () => {
    files.delete(`${HOME}/b.ko`);
    expect(thrown(() => loadModule("a"))).toBe(`the kernel module b cannot be loaded: ${HOME}/b.ko: open: ENOENT: No such file or directory`);
  });

  it("is none when the image has none for this kernel, or one of another making", () => {
    files.set("/lib/modules/5.0/kata-modules", INDEX);
    files.delete(`${HOME}/kata-modules`);
    for (const m of ["a", "b", "c", "d", "e"]) files.delete(`${HOME}/${m}.ko`);
    expect([haveModules(), otherKernels()]).toEqual([false, ["5.0"]]);
    expect(thrown(() => loadModule("a"))).toMatch(/there is no kernel module a in the image/);
    files.set(`${HOME}/modules.dep`, "");
    expect([haveModules(), otherKernels()]).toEqual([false, []]);
  });
});

describe("modules by the names that the kernel knows", () => {
  it("are found by alias and by pattern", () => {
    expect(loadFor("virtio:d00000001v00001AF4", quietly)).toBe(true);
    expect(loadFor("pci:v00001AF4d00001005sv00001AF4sd", quietly)).toBe(true);
    expect(loadFor("pci:v00001AF4", quietly)).toBe(undefined);
    expect(loaded).toEqual(["b", "c debug=1", "e"]);
  });

  it("are loaded for each device, also for those that another driver brings, and one that fails costs itself", () => {
    files.set("/sys/bus/pci/devices/0/modalias", "pci:v00001AF4d00001005sv00001AF4sd\n");
    files.set("/sys/bus/virtio/devices/virtio0/modalias", "virtio:d00000001v00001AF4\n");
    files.set("/sys/bus/scsi/devices/x/modalias", "scsi:t-0x00\n");
    refuse["e"] = E["ENOEXEC"] as number;
    const told: string[] = [];
    loadForDevices({ trouble: (error) => told.push((error as Error).message) });
    expect(loaded).toEqual(["e", "b", "c debug=1"]);
    expect(told).toEqual([expect.stringMatching(/^the kernel refuses the module e: /)]);
  });
});

describe("the kernel's request", () => {
  const ask = (...args: string[]): number => {
    expect(() => answer(args)).toThrow("left");
    return exits.at(-1) as number;
  };

  it("is told from any other call of the program by its whole form", () => {
    expect(isHelper("/proc/1/exe", ["-q", "--", "net-pf-38"])).toBe(true);
    for (const args of [[], ["oci", "list"], ["-q"], ["-q", "--"], ["-q", "--", "a", "b"], ["--", "-q", "a"]]) expect(isHelper("/proc/1/exe", args)).toBe(false);
    expect(isHelper("/sbin/init", ["-q", "--", "net-pf-38"])).toBe(false);
  });

  it("loads what answers, and nothing for what the image does not have", () => {
    expect([ask("-q", "--", "fs-a"), loaded]).toEqual([0, ["b", "c debug=1", "d x=2", "a"]]);
    expect(ask("-q", "--", "fs-a")).toBe(0);
    expect(ask("-q", "--", "net-pf-38")).toBe(1);
    expect([loaded.length, files.get("/dev/kmsg")]).toEqual([4, ""]);
  });

  it.each(["", "../a", "/lib/modules/a", "fs-a\n", "fs-a fs-b", "a\0", "fs-\u00e4", "*", "=", "a".repeat(56)])("of the name %j is answered with no, silently", (name) => {
    expect([ask("-q", "--", name), loaded, files.get("/dev/kmsg")]).toEqual([1, [], ""]);
    for (const path of paths) expect(path).not.toContain("..");
  });

  it("for a module that is refused is told once and not tried again, however often containers ask", () => {
    refuse["d"] = E["ENOEXEC"] as number;
    for (let i = 0; i < 5; i++) expect(ask("-q", "--", "fs-a")).toBe(1);
    expect(loaded).toEqual(["b", "c debug=1", "d x=2"]);
    expect(files.get("/dev/kmsg")).toBe(`<3>kata-agent: the kernel refuses the module d with "x=2": finit_module: ENOEXEC: Exec format error (it was not made for this kernel, ${RELEASE})\n`);
  });

  it("that fails for want of memory is tried again", () => {
    refuse["b"] = E["ENOMEM"] as number;
    expect([ask("-q", "--", "b"), files.get("/dev/kmsg")]).toEqual([1, ""]);
    refuse = {};
    expect(ask("-q", "--", "b")).toBe(0);
  });

  it("ends with no when nothing can be read", () => {
    answerCalls((nr, args) => (callName.get(nr) === "exit_group" ? kernel(nr, args) : -(E["EIO"] as number)));
    expect(ask("-q", "--", "fs-a")).toBe(1);
  });
});
