// Makes tar archives for tests: the entries as given, however wrong they are. Private folders, removed by the caller.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import tar from "tar-stream";

export interface TarEntry {
  name: string;
  type?: "file" | "directory" | "symlink" | "link" | "character-device" | "block-device" | "fifo";
  data?: string | Buffer;
  linkname?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  devmajor?: number;
  devminor?: number;
  pax?: Record<string, string>;
}

/** The entries as the bytes of a tar archive. */
export const tarball = async (entries: TarEntry[]): Promise<Buffer> => {
  const pack = tar.pack();
  for (const { data, ...header } of entries) {
    const fields = { mtime: new Date(0), ...header } as Parameters<typeof pack.entry>[0];
    if ((header.type ?? "file") === "file") pack.entry(fields, (data ?? "") as string & Buffer);
    else pack.entry(fields);
  }
  pack.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of pack) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
};

export const sha256 = (data: Uint8Array | string): string => `sha256:${createHash("sha256").update(data).digest("hex")}`;

export interface LayoutOptions {
  /** Image configuration besides rootfs and platform. */
  config?: object;
  architecture?: string;
  /** Changes the manifest before it is written. */
  manifest?: (manifest: { layers: { digest: string; size: number; mediaType: string }[] }) => void;
  /** How layers are packed. */
  pack?: (data: Buffer) => Buffer;
}

/** Write an OCI image layout of the given layers (tar bytes) to `folder`. */
export const writeLayout = (folder: string, layers: Buffer[], options: LayoutOptions = {}): void => {
  const blobs = join(folder, "blobs", "sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (data: Buffer, mediaType: string): { mediaType: string; digest: string; size: number } => {
    writeFileSync(join(blobs, sha256(data).slice(7)), data);
    return { mediaType, digest: sha256(data), size: data.length };
  };
  const json = (value: object, type: string): { mediaType: string; digest: string; size: number } =>
    put(Buffer.from(JSON.stringify(value)), `application/vnd.oci.image.${type}.v1+json`);
  const config = json({ architecture: options.architecture ?? "amd64", os: "linux", config: options.config ?? {}, rootfs: { type: "layers", diff_ids: layers.map((l) => sha256(l)) } }, "config");
  const manifest = { schemaVersion: 2, config, layers: layers.map((l) => put((options.pack ?? gzipSync)(l), "application/vnd.oci.image.layer.v1.tar+gzip")) };
  options.manifest?.(manifest);
  const index = { schemaVersion: 2, manifests: [{ ...json(manifest, "manifest"), annotations: { "org.opencontainers.image.ref.name": "latest" } }] };
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(join(folder, "index.json"), JSON.stringify(index));
};
