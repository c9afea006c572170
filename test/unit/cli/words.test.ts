// What the commands understand of their callers' words: options, sizes, durations, signals, limits to change; and what they make
// of the machine's ps.
import "../../helpers/fake-native.js";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, vi } from "vitest";

const CLI = resolve(import.meta.dirname, "../../../agent/cli");

vi.mock("../../../agent/lib/loop.js", () => ({ after: () => ({ cancel: () => undefined }), watch: () => undefined, now: () => 0 }));
const { commandNames, commandOf, GLOBAL } = await import("../../../agent/cli/commands.js");
const { help } = await import("../../../agent/cli/help.js");
const { readOptions } = await import("../../../agent/cli/options.js");
const { durationMs } = await import("../../../agent/cli/events.js");
const { asked, bytesOf, FLAGS, merged, toWrite } = await import("../../../agent/cli/update.js");
const { sift } = await import("../../../agent/cli/ps.js");
const { signalNumber } = await import("../../../agent/cli/control.js");

const read = (command: string, ...args: readonly string[]): { given: object; words: readonly string[]; rest: readonly string[] } => {
  const { options, rest } = readOptions(commandOf(command) ?? GLOBAL, args, command);
  return { given: options.given, words: options.words, rest };
};

describe("options", () => {
  it("stand before or behind the id, with one dash or two, joined or apart", () => {
    const wanted = { given: { bundle: ["/b"], "pid-file": ["/p"] }, words: ["id"], rest: [] };
    expect(read("create", "--bundle", "/b", "--pid-file=/p", "id")).toEqual(wanted);
    expect(read("create", "id", "-b", "/b", "-pid-file", "/p")).toEqual(wanted);
    expect(read("create", "--bundle=/b", "id", "--pid-file", "/p")).toEqual(wanted);
    expect(read("run", "-d", "id")).toMatchObject({ given: { detach: [""] } });
    for (const no of ["false", "FALSE", "False", "f", "F", "0"]) expect(read("run", `--detach=${no}`, "id").given).toEqual({});
    for (const yes of ["true", "TRUE", "True", "t", "T", "1"]) expect(read("run", `--detach=${yes}`, "id").given).toEqual({ detach: [""] });
    for (const odd of ["", "yes", "tRUE", "2"]) expect(() => read("run", `--detach=${odd}`, "id")).toThrow(`--detach: "${odd}" is not true or false`);
    expect(read("exec", "-tu0", "id")).toMatchObject({ given: { tty: [""], user: ["0"] } });
  });

  it("end at the id where a program follows, and at --", () => {
    expect(read("exec", "-t", "id", "ls", "-l", "--tty")).toEqual({ given: { tty: [""] }, words: ["id"], rest: ["ls", "-l", "--tty"] });
    expect(read("ps", "id", "-o", "pid")).toEqual({ given: {}, words: ["id"], rest: ["-o", "pid"] });
    expect(read("state", "--", "-id")).toEqual({ given: {}, words: [], rest: ["-id"] });
    expect(read("", "--root", "/r", "create", "--bundle", "x")).toEqual({ given: { root: ["/r"] }, words: [], rest: ["create", "--bundle", "x"] });
  });

  it("are refused when unknown or without their value", () => {
    expect(() => read("create", "--tty", "id")).toThrow("create: unknown option --tty");
    expect(() => read("create", "id", "-x")).toThrow("unknown option");
    expect(() => read("create", "id", "--bundle")).toThrow("--bundle needs a value");
    expect(() => read("create", "--toString", "id")).toThrow("unknown option --toString");
  });
});

describe("the help", () => {
  const tables: [string, { readonly options: object }][] = [["", GLOBAL], ...commandNames().map((name): [string, { readonly options: object }] => [name, commandOf(name) as never])];
  const sources = readdirSync(CLI).filter((file) => file.endsWith(".ts")).map((file) => readFileSync(join(CLI, file), "utf8")).join("\n");

  it.each(tables)("of %s says something of each option and names no letter twice", (name, { options }) => {
    const text = help("kata-oci", name || undefined);
    const rows = text.slice(text.lastIndexOf("options:\n")).split("\n").filter((line) => line.startsWith("  ") && line.includes("--"));
    expect(rows.map((row) => /--([\w-]+)/.exec(row)?.[1]).sort()).toEqual([...new Set([...Object.keys(options), "help"])].sort());
    for (const row of rows) expect(row).toMatch(/^  (-\w, |    )--[\w-]+( VALUE)? +\S.*\S$/);
    const letters = rows.map((row) => /^  (-\w), /.exec(row)?.[1]).filter((letter) => letter !== undefined);
    expect(new Set(letters).size).toBe(letters.length);
  });

  it("says what each command is for", () => {
    for (const name of commandNames()) expect(help("kata-oci")).toMatch(new RegExp(`\n  ${name} .* \\S`));
    for (const name of commandNames()) expect(commandOf(name)?.about).toMatch(/^[a-z]/);
  });

  it("knows every option that a command asks for, and no other", () => {
    const known = new Set(tables.flatMap(([, { options }]) => Object.keys(options)));
    const asked = new Set([...sources.matchAll(/\b(?:options|global|given)\.(?:get|has|all|number)\("([\w-]+)"\)/g)].map((m) => m[1] as string));
    expect([...asked].filter((name) => !known.has(name))).toEqual([]);
    expect([...known].filter((name) => !asked.has(name) && !(name in FLAGS) && !["l3-cache-schema", "mem-bw-schema"].includes(name))).toEqual([]);
    expect(Object.keys(FLAGS).filter((name) => !Object.hasOwn(commandOf("update")?.options ?? {}, name))).toEqual([]);
  });
});

describe("numbers with units", () => {
  it("are bytes, in units of 1024", () => {
    const table: [string, number | undefined][] = [["0", 0], ["1048576", 1048576], ["1k", 1024], ["1K", 1024], ["64m", 64 << 20], ["64MB", 64 << 20], ["64MiB", 64 << 20], ["1.5g", 1536 << 20], ["2t", 2 ** 41], ["5b", 5], ["-1", -1],
      ["", undefined], ["m", undefined], ["-2", undefined], ["3x", undefined], ["1.2.3m", undefined], ["0x10", undefined], ["1e3", undefined], ["1 2", undefined], [".5m", undefined]];
    expect(table.map(([text]) => [text, bytesOf(text)])).toEqual(table);
  });
  it("are durations", () => {
    const table: [string, number | undefined][] = [["5s", 5000], ["100ms", 100], ["1m30s", 90_000], ["1.5s", 1500], ["2h", 7_200_000], ["500us", 0.5], ["0s", 0], ["5", undefined], ["s", undefined], ["", undefined], ["-1s", undefined], ["1x", undefined], ["1.2.3s", undefined]];
    expect(table.map(([text]) => [text, durationMs(text)])).toEqual(table);
  });
  it("are signals, by number or name", () => {
    expect(["9", "KILL", "SIGKILL", "sigkill", "0", "RTMIN", "SIGRTMIN+2", "RTMAX-1", "sys"].map(signalNumber)).toEqual([9, 9, 9, 9, 0, 34, 36, 63, 31]);
    for (const text of ["", "65", "-9", "SIG", "RTMIN+31", "toString", "9x"]) expect(() => signalNumber(text)).toThrow("unknown signal");
  });
});

describe("limits to change", () => {
  it("are those that say something", () => {
    expect(asked({ memory: { limit: 0, swap: 5, swappiness: 0 }, cpu: { shares: 0, cpus: "", idle: 0 }, pids: { limit: 0 }, hugepageLimits: [], blockIO: { weightDevice: [] } })).toEqual({ memory: { swap: 5, swappiness: 0 }, cpu: { idle: 0 }, pids: { limit: 0 } });
    expect(asked({ pids: {} as never })).toEqual({});
    expect(asked({ memory: { limit: -1 } })).toEqual({ memory: { limit: -1, swap: -1 } }); // else the old swap limit would still hold it
    expect(asked({ hugepageLimits: [{ pageSize: "2MB", limit: 0 }] })).toEqual({ hugepageLimits: [{ pageSize: "2MB", limit: 0 }] });
  });
  it("go on top of the old ones, and what shares a file with them is written along", () => {
    const old = { memory: { limit: 10, swap: 20 }, cpu: { quota: 5, period: 7 }, pids: { limit: 3 } };
    const change = { cpu: { quota: 6 }, memory: { limit: 12 } };
    const whole = merged(old, change);
    expect(whole).toEqual({ memory: { limit: 12, swap: 20 }, cpu: { quota: 6, period: 7 }, pids: { limit: 3 } });
    expect(toWrite(whole, change)).toEqual({ cpu: { quota: 6, period: 7 }, memory: { limit: 12 } });
    expect(toWrite(merged(old, { memory: { swap: 30 } }), { memory: { swap: 30 } })).toEqual({ memory: { limit: 10, swap: 30 } });
  });
});

describe("the table of ps", () => {
  const TABLE = "UID   PID  PPID CMD\nroot    1     0 init\nroot   11     1 a 12 b\n 5    112    11 c\n";
  it("is sifted by its PID column alone", () => {
    expect(sift(TABLE, [1, 112])).toBe("UID   PID  PPID CMD\nroot    1     0 init\n 5    112    11 c\n");
    expect(sift(TABLE, [12, 0])).toBe("UID   PID  PPID CMD\n");
    expect(() => sift("UID CMD\n", [1])).toThrow("couldn't find PID field");
  });
});
