// The documents and what refers to them: a comment that cites "agent-api 10.14" or names a file names one that is there, a link in a
// page leads somewhere, and the map names every page.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const NOT_OURS = ["node_modules", "dist", ".git", "gen"];

function files(dir: string, endings: readonly string[], not = NOT_OURS): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return not.includes(e.name) ? [] : files(path, endings, not);
    return e.isFile() && endings.some((s) => e.name.endsWith(s)) ? [path] : [];
  });
}

const read = (path: string): string => readFileSync(path, "utf8");

/** Without fenced blocks, code spans and comments, in which nothing is a heading or a link. */
const prose = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, "").replace(/<!--[\s\S]*?-->/g, "").replace(/`[^`\n]*`/g, "code");

/** The pages that are cited by the number of a section ("## 8.", "### 8.1 ...") or of a paragraph ("**8.1.2** ..."). */
const PAGES = ["agent-api", "container-engine", "ttrpc"] as const;
const ONE = String.raw`\d+(?:\.T?\d+[a-z]?)*`;
const PLACE = new RegExp(String.raw`^(?:#{2,3} (${ONE})\.? |\*\*(${ONE})\*\* )`, "gm");
const places = new Map(PAGES.map((page) => [page as string, new Set([...read(join(root, "docs", `${page}.md`)).matchAll(PLACE)].map((m) => (m[1] ?? m[2]) as string))]));

/** A page, places in it, and perhaps items of a numbered list in the last of them: "container-engine 2.2 steps 21 to 26". */
const CITATION = new RegExp(String.raw`\b(${PAGES.join("|")}) (${ONE}(?:(?:, | and |, and | to )${ONE})*)(?:,? (?:steps?|rule) (\d+)(?: to (\d+))?)?`, "g");

/** A comment's lines as one: a citation may be broken between two numbers. */
const joined = (text: string): string => text.replace(/\n[ \t]*(?:\/\/|\*)[ \t]+/g, " ");

interface Citation { readonly page: string; readonly place: string; readonly items: readonly string[] }

const citations = (text: string): Citation[] =>
  [...joined(text).matchAll(CITATION)].flatMap(([, page = "", list = "", ...items]) => {
    const all = [...list.matchAll(new RegExp(ONE, "g"))].map(([place]) => place);
    return all.map((place, i) => ({ page, place, items: i === all.length - 1 ? items.filter((item) => item !== undefined) : [] }));
  });

/** What stands at a place: to the next one. */
function textAt({ page, place }: Citation): string {
  const text = read(join(root, "docs", `${page}.md`));
  const all = [...text.matchAll(PLACE)];
  const at = all.findIndex((m) => (m[1] ?? m[2]) === place);
  return at < 0 ? "" : text.slice(all[at]?.index, all[at + 1]?.index);
}

const self = resolve(import.meta.filename);
const sources = ["agent", "bench", "ctl", "image-builder", "protos", "test", "tools"].flatMap((d) => files(join(root, d), [".ts", ".mjs", ".c", ".h"]))
  .filter((f) => f !== self);

describe("citations", () => {
  it("are found, also over two lines", () => {
    const text = "// as others (agent-api 9, 25.T5, 26.7,\n// 26.9 and 26.12; container-engine 3.2b): see ttrpc 6 to 8, and container-engine 2.2 steps 21 to 26.";
    expect(citations(text).map(({ page, place }) => `${page} ${place}`)).toEqual([
      "agent-api 9", "agent-api 25.T5", "agent-api 26.7", "agent-api 26.9", "agent-api 26.12", "container-engine 3.2b", "ttrpc 6", "ttrpc 8", "container-engine 2.2",
    ]);
    expect(citations(text).at(-1)?.items).toEqual(["21", "26"]);
  });
  it("name places that are there", () => {
    const found = sources.flatMap((file) => citations(read(file)).map((c) => ({ ...c, file: relative(root, file) })));
    expect(found.length, "none is found: the rule is broken").toBeGreaterThan(50);
    expect(found.filter(({ page, place }) => !places.get(page)?.has(place)).map(({ page, place, file }) => `${file}: ${page} ${place}`)).toEqual([]);
  });
  it("of items of a list name items that are there", () => {
    const found = sources.flatMap((file) => citations(read(file)).flatMap((c) => c.items.map((item) => ({ ...c, item, file: relative(root, file) }))));
    expect(found.length, "none is found: the rule is broken").toBeGreaterThan(3);
    const missing = found.filter((c) => !new RegExp(String.raw`(?:^|\s)${c.item}\. `, "m").test(textAt(c)));
    expect(missing.map(({ page, place, item, file }) => `${file}: ${page} ${place}, ${item}.`)).toEqual([]);
  });
  it("are spelt with the page's name", () => {
    const other = /\bfacts?,? (?:section )?\(?\d|\b(?:agent-api|container-engine)(?:\.md)?,? (?:section|chapter|§)/i;
    expect(sources.filter((f) => other.test(joined(read(f)))).map((f) => relative(root, f))).toEqual([]);
  });
});

/** The comments of a file, line by line. */
const comments = (text: string): string[] => [...text.matchAll(/(?:^|\s)(?:\/\/|\/\*\*?|\*) (.*)$/gm)].map((m) => m[1] as string);
const NAME = /(?<![\w./-])(?:[\w-]+\/)*[\w.-]+\.(?:ts|mjs)(?![\w-])/g;

describe("names of files in comments", () => {
  const all = files(root, [".ts", ".mjs"], NOT_OURS.filter((name) => name !== "gen")).map((f) => relative(root, f)); // those of the same part of the tree, or by their folders
  it("are those of files that are there", () => {
    const missing = sources.flatMap((file) => {
      const from = relative(root, file);
      const near = from.startsWith("test/") ? "" : `${from.split("/")[0]}/`;
      const named = comments(read(file)).flatMap((line) => line.match(NAME) ?? []);
      return named.filter((name) => !all.some((f) => (name.includes("/") || f.startsWith(near)) && `/${f}`.endsWith(`/${name}`))).map((name) => `${from}: ${name}`);
    });
    expect(missing).toEqual([]);
  });
});

/** The anchor that a heading gets: small letters, without punctuation, "-" for each blank; a second one of a name gets "-1". */
function anchors(page: string): Set<string> {
  const seen = new Map<string, number>();
  const all = new Set<string>();
  for (const [, heading = ""] of page.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const name = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase().replace(/[^\p{L}\p{N}\-_ ]/gu, "").replace(/ /g, "-");
    const n = seen.get(name) ?? 0;
    seen.set(name, n + 1);
    all.add(n === 0 ? name : `${name}-${n}`);
  }
  return all;
}

const pages = files(root, [".md"]);

/** Why a link of `page` leads nowhere; undefined when it does not, or leads out of the repository. */
function broken(page: string, link: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : resolve(dirname(page), decodeURIComponent(path));
  if (!existsSync(target)) return `${link}: there is no ${relative(root, target)}`;
  if (anchor === undefined || !statSync(target).isFile() || !target.endsWith(".md")) return undefined;
  return anchors(read(target)).has(anchor) ? undefined : `${link}: no heading of ${relative(root, target)}`;
}

describe("pages", () => {
  it.each(pages.map((f) => [relative(root, f), f]))("every link of %s leads somewhere", (_name, page) => {
    const links = [...prose(read(page as string)).matchAll(/\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)/g)].map((m) => m[1] as string);
    expect(links.map((link) => broken(page as string, link)).filter((why) => why !== undefined)).toEqual([]);
  });
  it.each(pages.map((f) => [relative(root, f), f] as const))("every path of the tree in %s is there", (_name, page) => {
    const named = [...read(page).matchAll(/`((?:agent|bench|ctl|docs|image-builder|kernel-configs|protos|rootfs|test|tools)\/[\w./-]*)`/g)].map((m) => m[1] as string);
    expect(named.filter((path) => !existsSync(join(root, path)) && !existsSync(join(dirname(page), path)))).toEqual([]);
  });
  it("of docs/ are all on its map", () => {
    const map = read(join(root, "docs/README.md"));
    const missing = files(join(root, "docs"), [".md"]).map((f) => relative(join(root, "docs"), f)).filter((f) => f !== "README.md" && !map.includes(`](${f})`));
    expect(missing).toEqual([]);
  });
});
