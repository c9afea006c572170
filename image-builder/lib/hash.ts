// Owns SHA-256 over files, trees and plain values: the keys of the cache and the sums in the manifest. Must never depend on
// modification times, owners or the place a tree lies in.
import { createHash } from "node:crypto";
import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Any JSON value, as it goes into a key. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** SHA-256 of bytes or text, lower-case hex. */
export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

/** SHA-256 of a file's content, lower-case hex. Throws the errno error of the first read that fails. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafe(1 << 20); // one for all: a stream's are garbage by the hundred
    for (let n; (n = (await file.read(buffer, 0, buffer.length, null)).bytesRead) > 0;) hash.update(buffer.subarray(0, n));
    return hash.digest("hex");
  } finally {
    await file.close();
  }
}

/** JSON with the keys of every object sorted, so that equal values give equal text. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const record = value as { readonly [key: string]: Json };
    return `{${Object.keys(record).sort().map((k) => `${JSON.stringify(k)}:${canonical(record[k] as Json)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** SHA-256 over a folder: names, permission bits, link targets and contents, in byte order of the names; `.git` is left out. */
export async function sha256Tree(root: string): Promise<string> {
  const hash = createHash("sha256");
  const walk = async (dir: string, name: string): Promise<void> => {
    for (const child of (await readdir(dir)).sort()) {
      if (name === "" && child === ".git") continue;
      const path = join(dir, child);
      const rel = name === "" ? child : `${name}/${child}`;
      const st = lstatSync(path);
      const mode = (st.mode & 0o777).toString(8);
      if (st.isDirectory()) {
        hash.update(`d ${mode} ${rel}\0`);
        await walk(path, rel);
      } else if (st.isSymbolicLink()) hash.update(`l ${rel}\0${readlinkSync(path)}\0`);
      // a kernel tree has 85,000 small files: read at once each, as one stream a file would take minutes
      else if (st.isFile()) hash.update(`f ${mode} ${rel}\0${st.size > 1 << 24 ? await sha256File(path) : sha256(readFileSync(path))}\0`);
    }
  };
  await walk(root, "");
  return hash.digest("hex");
}
