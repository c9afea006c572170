import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { DEFAULTS, fromCommandLine, fromFile, SETTINGS, warnOfIdle, withEnvironment } from "../../../agent/init/config.js";
import * as toml from "../../../agent/init/toml.js";
import "../../helpers/fake-native.js";
import { AppError } from "../../../agent/lib/errors.js";

const document = vi.hoisted(() => ({ text: "" }));
vi.mock("../../../agent/lib/fs.js", () => ({ readDocument: () => document.text }));
const warned = vi.hoisted(() => [] as string[]);
vi.mock("../../../agent/lib/log.js", async (original) => ({ ...(await original<object>()), log: (_level: number, text: string) => void warned.push(text) }));

describe("kernel command line", () => {
  it("gives the defaults when no word is the agent's", () => {
    expect(fromCommandLine("console=hvc0 quiet agent.unknown=1 agent.unknown_flag")).toEqual(DEFAULTS);
  });
  it.each([
    ["agent.log=debug", "logLevel", 4], ["agent.log=warning", "logLevel", 2], ["agent.log=critical", "logLevel", 0],
    ["agent.server_addr=unix:///run/a=b.sock", "serverAddr", "unix:///run/a=b.sock"],
    ["agent.debug_console", "debugConsole", true], ["agent.debug_console=true", "debugConsole", false],
    ["agent.trace", "tracing", true], ["agent.trace=0", "tracing", false], ["agent.trace=2", "tracing", true], ["agent.trace=yes", "tracing", false],
    ["agent.log_vport=1025", "logVport", 1025], ["agent.log_vport=0", "logVport", 0], ["agent.log_vport=-3", "logVport", 0],
    ["agent.share_timeout=9", "shareTimeoutMs", 9000], ["agent.share_timeout=0", "shareTimeoutMs", 60_000],
    ["agent.hotplug_timeout=7", "hotplugTimeoutMs", 7000], ["agent.hotplug_timeout=0", "hotplugTimeoutMs", 3000],
    ["agent.container_pipe_size=8192", "containerPipeSize", 8192],
    ["systemd.unified_cgroup_hierarchy=0", "cgroupV1", true], ["systemd.unified_cgroup_hierarchy=true", "cgroupV1", false],
  ] as const)("%s sets %s to %s", (word, key, value) => {
    expect(fromCommandLine(`quiet ${word} panic=1`)[key]).toBe(value);
  });
  it("lets the last of two words win", () => {
    expect(fromCommandLine("agent.log=info agent.log=trace").logLevel).toBe(5);
  });
  it.each([["agent.log=loud", "log level"], ["agent.log=", "log level"], ["agent.log_vport=x", "agent.log_vport"], ["agent.hotplug_timeout=-1", "timeout"], ["agent.hotplug_timeout=1s", "agent.hotplug_timeout"],
    ["agent.container_pipe_size=-1", "should not be negative"], ["agent.server_addr=", "agent.server_addr"], ["agent.log=constructor", "log level"]])("refuses %s and names it", (word, text) => {
    expect(() => fromCommandLine(word)).toThrow(AppError);
    expect(() => fromCommandLine(word)).toThrow(text);
  });
});

describe("environment", () => {
  it("overrides what came before; an invalid level is ignored", () => {
    const c = withEnvironment(fromCommandLine("agent.log=info"), ["KATA_AGENT_SERVER_ADDR=unix:///x", "KATA_AGENT_LOG_LEVEL=nonsense", "KATA_AGENT_TRACING=1", "PATH=/bin"]);
    expect(c).toMatchObject({ serverAddr: "unix:///x", logLevel: 3, tracing: true });
  });
});

describe("TOML", () => {
  it("reads keys of the top table and skips the others", () => {
    const v = toml.parseToml(`# c\nserver_addr = "unix:///a#b" # tail\nlog_vport = 1_025\ndev_mode = false\nhotplug_timeout = { secs = 5, nanos = 0 }\nx = 'lit"eral'\n[endpoints]\nserver_addr = "no"\n`);
    expect(Object.fromEntries(v)).toEqual({ server_addr: "unix:///a#b", log_vport: 1025, dev_mode: false, hotplug_timeout: { secs: 5, nanos: 0 }, x: 'lit"eral' });
  });
  it.each([["a", "line 1"], ["ok = 1\nb = nope", "line 2"], ['c = "open', "line 1"], ["= 1", "line 1"]])("refuses %j with the line", (text, line) => {
    expect(() => toml.parseToml(text)).toThrow(line);
  });
});

describe("a file", () => {
  const read = (text: string): ReturnType<typeof fromFile> => {
    document.text = text;
    return fromFile("/agent.toml");
  };
  it("sets every setting by its key", () => {
    expect(read(`server_addr = "unix:///a"\nlog_level = "trace"\nlog_vport = 7\ndebug_console = true\ndebug_console_vport = 8\ndev_mode = true\ntracing = true\npassfd_listener_port = 9
      hotplug_timeout = { secs = 5, nanos = 500000000 }\nshare_timeout = { secs = 6 }\ncontainer_pipe_size = 10\nunified_cgroup_hierarchy = false\nunknown = 1`)).toEqual({
      serverAddr: "unix:///a", logLevel: 5, logVport: 7, debugConsole: true, debugConsoleVport: 8, devMode: true, tracing: true, passfdListenerPort: 9,
      hotplugTimeoutMs: 5500, shareTimeoutMs: 6000, containerPipeSize: 10, cgroupV1: true,
    });
  });
  it.each([["log_vport = true", "log_vport: expected a number"], ["tracing = 1", "tracing: expected a boolean"], ["hotplug_timeout = 5", "hotplug_timeout: expected { secs = N, nanos = N }"],
    ['log_level = "loud"', "invalid log level"], ["server_addr = 1", "server_addr: expected a string"]])("that says %s is refused by name", (text, why) => {
    expect(() => read(text)).toThrow(`configuration file /agent.toml: ${why}`);
  });
});

describe("a setting without effect", () => {
  it("is warned of when it is made, and only then", () => {
    warnOfIdle({ ...DEFAULTS, logLevel: 5, serverAddr: "unix:///a" });
    expect(warned).toEqual([]);
    warnOfIdle(fromCommandLine("agent.debug_console agent.log_vport=7 agent.trace"));
    expect(warned).toEqual(["agent.log_vport", "agent.debug_console", "agent.trace"].map((word) => `the setting ${word} is accepted and has no effect in this agent`));
  });
});

describe("docs/settings.md", () => {
  it("tells every setting as the code has it", () => {
    const rows = readFileSync("docs/settings.md", "utf8").split("\n").filter((line) => line.startsWith("| `")).map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim().replaceAll("`", "")));
    const told = rows.map(([word, key, variable, value, meaning = ""]) => ({ word, key, variable, value, idle: meaning.startsWith("no effect") }));
    const shown = (field: keyof typeof DEFAULTS): string => (field === "logLevel" ? "info" : field === "cgroupV1" ? String(!DEFAULTS.cgroupV1) : field.endsWith("Ms") ? `${Number(DEFAULTS[field]) / 1000} s` : String(DEFAULTS[field]));
    expect(told).toEqual(SETTINGS.map(({ field, word, key, variable = "", idle = false }) => ({ word, key, variable, value: shown(field), idle })));
  });
});
