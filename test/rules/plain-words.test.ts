// Plain words: what a reader would have to learn first stands neither in code nor in documents. Words of our own are in docs/glossary.md.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const WORDS = /\b(doors?|gates?|gated|knock(s|ed|ing)?|heirs?|errands?|strangers?)\b/gi;

function files(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return ["node_modules", "dist", "gen"].includes(e.name) ? [] : files(path);
    return /\.(ts|c|h|md|json)$/.test(e.name) ? [path] : [];
  });
}

/** A name is read as its words: makeDoor, DOOR_SOCKET. */
const asWords = (text: string): string => text.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll("_", " ");

it.each(["agent", "ctl", "image-builder", "docs"])("%s calls things by words that need no explanation", (dir) => {
  const found = files(dir).flatMap((file) => readFileSync(join(root, file), "utf8").split("\n").flatMap((line, i) => {
    const words = [...asWords(line).matchAll(WORDS)].map((m) => m[0]);
    return words.length > 0 ? [`${file}:${i + 1}: ${words.join()}: ${line.trim().slice(0, 100)}`] : [];
  }));
  expect(found).toEqual([]);
});
