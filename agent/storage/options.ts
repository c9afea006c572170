// Mount options as mount(8) writes them, sorted into what mount(2) takes: flags, a propagation, and a text for the file
// system. Pure. See agent-api 13.3.
import { AppError } from "../lib/errors.js";
import { keyValue } from "../lib/text.js";
import { CLEAR, PROPAGATION, SET } from "../oci/mounts.js";

export interface MountOptions { readonly flags: number; readonly propagation: number; readonly data: readonly string[] }

/** Words that are for the agent, not for the kernel. */
const isOurs = (word: string): boolean => word.startsWith("io.katacontainers.") || word.startsWith("X-kata.") || word.startsWith("fsgid=");

const LONGEST = 65536; // characters; they are looked at one by one, and more than once

/** The words of a list of options; one option may hold several with commas between them ("\," is no separator). */
export function splitWords(options: readonly string[]): string[] {
  const out: string[] = [];
  let length = 0;
  for (const option of options) {
    if ((length += option.length) > LONGEST) throw new AppError("exhausted", `the mount options of a storage have more than ${LONGEST} characters`);
    let word = "";
    for (let i = 0; i < option.length; i++) {
      const c = option.charAt(i);
      if (c === "\\" && i + 1 < option.length) word += c + option.charAt(++i);
      else if (c === ",") {
        out.push(word);
        word = "";
      } else word += c;
    }
    out.push(word);
  }
  return out.filter((w) => w !== "");
}

/** Sorts options; the agent's own words are left out. Throws AppError for "loop", which only mount(8) can do. */
export function splitOptions(options: readonly string[]): MountOptions {
  let flags = 0;
  let propagation = 0;
  const data: string[] = [];
  for (const word of splitWords(options)) {
    const set = SET[word];
    const clear = CLEAR[word];
    const spread = PROPAGATION[word];
    if (word === "loop") throw new AppError("internal", "mount option loop is not supported: attach the file as a block device");
    if (set != null) flags |= set;
    else if (clear != null) flags &= ~clear;
    else if (spread != null) propagation = spread;
    else if (!isOurs(word)) data.push(word);
  }
  return { flags, propagation, data };
}

/** The value of the last "key=value" among the options; undefined when there is none. */
export function optionValue(options: readonly string[], key: string): string | undefined {
  let value: string | undefined;
  for (const word of splitWords(options)) {
    const [k, v] = keyValue(word);
    if (k === key && v !== undefined) value = v;
  }
  return value;
}
