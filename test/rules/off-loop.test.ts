// No call that takes a path may be made on the loop with a path in which somebody else has a part (lib/foreign.ts): what it leads to
// may never answer. In the layers that see requests, a path is written down in the source (and leads into /proc, /sys, /dev or the
// agent's own folders), or the call stands in code of a helper process: a function with a parameter of type OffLoop, or one that is
// handed to childTask. The exceptions are named here, each with its reason.
import { readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const agent = resolve(root, "agent");
const LAYERS = ["rpc", "sandbox", "storage", "devices", "network"];

/** Functions that take a path, with the places of their paths among the arguments. */
const TAKES: Readonly<Record<string, readonly number[]>> = {
  open: [0], openat: [1], openat2: [1], openat2Raw: [1], stat: [0], lstat: [0], statx: [1], exists: [0], statfs: [0], modeOf: [1], readlinkat: [1], mkdirat: [1], unlinkat: [1],
  symlinkat: [2], renameat: [1, 3], mknodat: [1], fchmodat: [1], fchownat: [1], chdir: [0], mount: [0, 1], umount: [0], tryUmount: [0], openTree: [1], mountSetattr: [1], chroot: [0],
  pivotRoot: [0, 1], readBytes: [0], readText: [0], readTextIf: [0], statIf: [0], statIn: [1], writeText: [0], createFile: [0], mkdirs: [0], inside: [1], removeTree: [0], namesIn: [0],
  nodeIn: [0], openNamespace: [0], connectUnix: [0], execve: [0],
};
/** The same as bare system calls. */
const NUMBERS = ["openat", "openat2", "statx", "faccessat2", "readlinkat", "mkdirat", "unlinkat", "symlinkat", "renameat2", "mknodat", "fchmodat", "fchownat", "mount", "umount2", "open_tree", "statfs", "swapon", "chdir", "utimensat"];
const OWN = ["/proc/", "/sys/", "/dev", "/etc/", "/run/kata-containers", "/sbin/", "/usr/", "/bin/"];

/** "file" or "file: function": why a path there is not somebody else's, or why it runs in a helper only. */
const SYSFS = "paths below /sys, of names that the kernel gave";
const HELPER = "runs in a helper only";
const EXCEPT: Readonly<Record<string, string>> = {
  "devices/modules.ts": "the folder of the image's own modules, and names in its index; after the boot in a helper only",
  "devices/hotplug.ts": SYSFS, "devices/pci.ts": SYSFS, "devices/vfio.ts": SYSFS, "devices/sysfs.ts: namesIn": SYSFS, "devices/sysfs.ts: nodeIn": SYSFS,
  "devices/sysfs.ts: deviceAt": "in /dev only: openat2 leaves neither its mount nor its folder",
  "network/iptables.ts: program": "one of two folders of the image, and a name of ours",
  "storage/block-storage.ts: makeFileSystem": "folders of the image",
  "storage/watch-sync.ts": HELPER, "storage/fs-group.ts": HELPER, "storage/undo.ts": HELPER,
  "storage/ephemeral.ts: pagesIn": "the kernel's file of a size in numbers; in a helper", "storage/ephemeral.ts: unreserve": "the same",
  "sandbox/copy-file.ts": "all but copyFile, which opens nothing, has a descriptor from `take`, which has an OffLoop",
  "sandbox/sandbox.ts: removeContainerDir": "a name in the agent's own folder, and rmdir(2) does not enter what is mounted there",
};

const config = ts.parseJsonConfigFileContent(ts.readConfigFile(resolve(agent, "tsconfig.json"), (f) => ts.sys.readFile(f)).config, ts.sys, agent);
const program = ts.createProgram(config.fileNames, config.options);
const checker = program.getTypeChecker();

const isFunction = (node: ts.Node): node is ts.SignatureDeclaration => ts.isFunctionLike(node);

/** Is this function one of a helper's? */
function isHelpers(node: ts.SignatureDeclaration): boolean {
  if (node.parameters.some((p) => checker.typeToString(checker.getTypeAtLocation(p)) === "OffLoop")) return true;
  return ts.isCallExpression(node.parent) && node.parent.expression.getText() === "childTask" && node.parent.arguments.includes(node as never);
}

function nameOf(node: ts.Node): string {
  for (let n: ts.Node | undefined = node; n !== undefined; n = n.parent) {
    if (ts.isFunctionDeclaration(n) || ts.isMethodDeclaration(n)) return n.name?.getText() ?? "?";
    if (ts.isVariableDeclaration(n) && ts.isVariableStatement(n.parent.parent) && n.parent.parent.parent.kind === ts.SyntaxKind.SourceFile) return n.name.getText();
  }
  return "(module)";
}

/** Is the path written down in the source? */
function isOwn(path: ts.Expression): boolean {
  if (path.getText() === "undefined") return true;
  if (ts.isStringLiteral(path) || ts.isNoSubstitutionTemplateLiteral(path)) return path.text === "" || !path.text.startsWith("/") || OWN.some((own) => path.text.startsWith(own));
  if (ts.isTemplateExpression(path)) return path.head.text === "" ? isOwn((path.templateSpans[0] as ts.TemplateSpan).expression) : OWN.some((own) => path.head.text.startsWith(own) && path.head.text !== "/dev/");
  if (ts.isCallExpression(path)) return path.expression.getText() === "fdPath";
  if (!ts.isIdentifier(path)) return false;
  const declared = checker.getSymbolAtLocation(path)?.declarations?.[0];
  return declared !== undefined && ts.isVariableDeclaration(declared) && (ts.getCombinedNodeFlags(declared) & ts.NodeFlags.Const) !== 0 && declared.initializer !== undefined && isOwn(declared.initializer);
}

/** Does the name mean a function of the layers below, and not one of the module's own that happens to be called so? */
function isBelow(name: ts.Node): boolean {
  const symbol = checker.getSymbolAtLocation(name);
  const declared = symbol === undefined || (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);
  return declared?.declarations?.some((d) => ["sys", "lib", "engine", "devices"].includes(relative(agent, d.getSourceFile().fileName).split("/")[0] as string)) ?? true;
}

/** The paths that a call takes; none when it takes no path. */
function pathsOf(call: ts.CallExpression): readonly ts.Expression[] {
  const name = call.expression.getText();
  if (name === "sys" || name === "must") {
    const at = name === "sys" ? 0 : 1;
    const number = call.arguments[at]?.getText() ?? "";
    return NUMBERS.includes(number.replace("NR.", "")) ? call.arguments.slice(at + 1).filter((a) => a.getText() !== "AT.FDCWD" && ["string", "Path"].some((t) => checker.typeToString(checker.getTypeAtLocation(a)).includes(t))) : [];
  }
  const handed = call.arguments.filter((a) => ts.isIdentifier(a) && Object.hasOwn(TAKES, a.text) && isBelow(a) && checker.getTypeAtLocation(a).getCallSignatures().length > 0);
  if (handed.length > 0) return handed; // for others to call, with who knows what
  return (Object.hasOwn(TAKES, name) && isBelow(call.expression) ? (TAKES[name] as readonly number[]) : []).flatMap((i) => call.arguments[i] ?? []);
}

function violations(source: ts.SourceFile, used: Set<string>): string[] {
  const file = relative(agent, source.fileName);
  const found: string[] = [];
  const visit = (node: ts.Node, helpers: boolean): void => {
    const inHelper = helpers || (isFunction(node) && isHelpers(node));
    if (ts.isCallExpression(node) && !inHelper) {
      for (const path of pathsOf(node)) {
        if (isOwn(path) || checker.typeToString(checker.getTypeAtLocation(path)) === "Fd") continue;
        const excuse = [file, `${file}: ${nameOf(node)}`].find((name) => Object.hasOwn(EXCEPT, name));
        if (excuse === undefined) found.push(`${file}: ${nameOf(node)}: ${node.getText().slice(0, 80)}`);
        else used.add(excuse);
      }
    }
    ts.forEachChild(node, (child) => visit(child, inHelper));
  };
  visit(source, false);
  return found;
}

describe("paths from outside", () => {
  const used = new Set<string>();
  const sources = program.getSourceFiles().filter((s) => LAYERS.includes(relative(agent, s.fileName).split("/")[0] as string));

  it("are not followed on the loop", () => {
    expect(sources.length).toBeGreaterThan(30);
    expect(sources.flatMap((source) => violations(source, used))).toEqual([]);
  });
  it("have no exception that is not needed", () => {
    for (const source of sources) violations(source, used);
    expect(Object.keys(EXCEPT).filter((name) => !used.has(name))).toEqual([]);
  });
  it("get their text only from lib/foreign.ts", () => {
    const casts = program.getSourceFiles().filter((s) => s.fileName.startsWith(agent) && /as (unknown as )?(OffLoop|ForeignPath)\b/.test(readFileSync(s.fileName, "utf8")));
    expect(casts.map((s) => relative(agent, s.fileName))).toEqual(["lib/foreign.ts"]);
  });
  it("are found by this test", () => {
    const text = "declare function open(p: string): void; function f(path: string): void { open(path); open(`/sys/${path}`); open(`${path}/x`); open(\"/etc/x\"); }";
    const planted = ts.createSourceFile(resolve(agent, "rpc/planted.ts"), text, ts.ScriptTarget.ES2022, true);
    const host = ts.createCompilerHost(config.options);
    const own = host.getSourceFile.bind(host);
    const small = ts.createProgram([planted.fileName], { noLib: true }, { ...host, getSourceFile: (name, how) => (name === planted.fileName ? planted : own(name, how)) });
    small.getTypeChecker();
    expect(violations(planted, new Set())).toHaveLength(2);
  });
});
