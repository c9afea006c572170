// Writes NOTICE and THIRD-PARTY.md from what the builds pin (image-builder/pins.json, package-lock.json): what of others is in the shipped
// files, under which licence, and where its source is. Run by `make gen`; test/rules/third-party.test.ts says when it was forgotten.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./places.js";

interface Pins {
  readonly [name: string]: { readonly package: string; readonly version?: string; readonly versions?: readonly { readonly version: string }[]; readonly files?: Readonly<Record<string, string>> };
}
interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly license?: string; readonly dev?: boolean; readonly optional?: boolean }>>;
}
const read = (path: string): string => readFileSync(join(projectRoot, path), "utf8");
const version = (pins: Pins, name: string): string => {
  const pin = pins[name];
  const found = pin?.version ?? pin?.versions?.[0]?.version;
  if (pin === undefined || found === undefined) throw new Error(`image-builder/pins.json pins no ${name}`);
  return `${pin.package} ${found}`;
};

const HEAD = `<!-- written by tools/third-party.ts (make gen) -->
# What of others is in this project, and in what it makes

The project itself is under the Apache License 2.0 ([LICENSE](LICENSE)). The texts of the other licences are in [licenses/](licenses/).
`;

/** NOTICE: what the shipped binary contains, in the form section 4(d) of the Apache License asks for. */
export const notice = (pins: Pins): string => `kata-agent

This product contains, linked into the binary kata-agent:

  QuickJS (${version(pins, "quickjs")}), MIT, licenses/quickjs-MIT.txt
  musl, the C library of the build machine's package musl-tools, MIT, licenses/musl-MIT.txt
  libseccomp (${version(pins, "libseccomp")}), LGPL-2.1, licenses/libseccomp-LGPL-2.1.txt

libseccomp is linked statically. To link the agent with another version of it, in the sources of this product:

  node --import tsx image-builder/main.ts agent --libseccomp FOLDER

where FOLDER is an unpacked source of libseccomp. The complete sources of the agent are those of this product; the sources of QuickJS and
libseccomp are Debian's source packages of the versions above, which the build fetches by their SHA-256 (image-builder/pins.json).

A guest kernel that is built or shipped beside the agent is Linux, GPL-2.0 with its exception for system calls, licenses/linux-GPL-2.0.txt. It is a
work of its own. Its complete source is Debian's package ${version(pins, "kernel")}, the patches and fragments in
kernel-configs, and the configuration that is beside each kernel as kernel.config.
`;

/** THIRD-PARTY.md: the same as tables, with the programs that only build and test. */
export const thirdParty = (pins: Pins, lock: Lock): string => {
  const packages = Object.entries(lock.packages).filter(([path, p]) => path !== "" && p.version !== undefined).map(([path, p]) => ({ name: path.slice(path.lastIndexOf("node_modules/") + 13), ...p }));
  const seen = new Set<string>();
  const rows = packages
    .filter(({ name, version: v }) => !seen.has(`${name} ${v}`) && seen.add(`${name} ${v}`) !== undefined)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ name, version: v, license }) => `| ${name} | ${v} | ${license ?? "?"} |`);
  return `${HEAD}
## In the agent's binary

| what | version | licence | source |
|---|---|---|---|
| QuickJS | ${version(pins, "quickjs")} | [MIT](licenses/quickjs-MIT.txt) | Debian's source package, by SHA-256 in \`image-builder/pins.json\` |
| libseccomp | ${version(pins, "libseccomp")} | [LGPL-2.1](licenses/libseccomp-LGPL-2.1.txt) | the same; linked statically: \`image-builder agent --libseccomp FOLDER\` links another one |
| musl | of the package musl-tools | [MIT](licenses/musl-MIT.txt) | Debian's source package musl |

## In images

| what | version | licence | source |
|---|---|---|---|
| Linux, compiled by \`make kernel\` | ${version(pins, "kernel")} | [GPL-2.0](licenses/linux-GPL-2.0.txt) with the system call exception | Debian's package of that name and version, patches and fragments in \`kernel-configs/\`, and the \`kernel.config\` beside each kernel |
| Linux, ready-made (\`kernel --from debian\`) | ${version(pins, "debian")} | the same | Debian's source package linux of that version |
| busybox, in the sample image | of the package busybox-static | [GPL-2.0](licenses/linux-GPL-2.0.txt) | Debian's source package busybox |

## Node packages

They build, test and drive from the host's side; nothing of them is in the guest.

| package | version | licence |
|---|---|---|
${rows.join("\n")}
`;
};

/** Both files by name. */
export const files = (): Record<string, string> => {
  const pins = JSON.parse(read("image-builder/pins.json")) as Pins;
  return { NOTICE: notice(pins), "THIRD-PARTY.md": thirdParty(pins, JSON.parse(read("package-lock.json")) as Lock) };
};

if (process.argv[1]?.endsWith("third-party.ts") === true) for (const [name, text] of Object.entries(files())) writeFileSync(join(projectRoot, name), text);
