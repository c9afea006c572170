// What an image says about the process to run, and the checks on the documents it comes in.
// Pure: JSON values in, typed values out. Source: OCI image-spec config.md, manifest.md, image-index.md.
import { parseExact, type Json } from "../client/exact-json.js";
import { ImageError } from "./tree.js";

/** The part of an image's configuration that a container is started from; everything may be missing in an image. */
export interface ImageConfig {
  env: string[];
  entrypoint: string[];
  cmd: string[];
  user: string;
  workdir: string;
}

export const EMPTY_CONFIG: ImageConfig = { env: [], entrypoint: [], cmd: [], user: "", workdir: "" };

/** Bytes of a document as text. Throws ImageError when they are not UTF-8. */
export const documentText = (bytes: Buffer, what: string): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new ImageError(`${what} is no UTF-8 text`, { cause: error });
  }
};

/** Text as JSON, its integers exact. Throws ImageError that names the document. */
export const jsonIn = (text: string, what: string): Json => {
  try {
    return parseExact(text);
  } catch (error) {
    throw new ImageError(`${what} is no JSON: ${(error as Error).message}`);
  }
};

/** The same for an object. */
export const jsonObject = (text: string, what: string): { [key: string]: Json } => {
  const value = jsonIn(text, what);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new ImageError(`${what} is no JSON object`);
  return value;
};

const strings = (value: Json | undefined, what: string): string[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) throw new ImageError(`${what} is no list of strings`);
  return value as string[];
};

const text = (value: Json | undefined, what: string): string => {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw new ImageError(`${what} is no string`);
  return value;
};

/** OCI name of this machine's processor. */
export const hostArchitecture = (): string => {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
  return names[process.arch] ?? process.arch;
};

/** Reads an image configuration document. Throws ImageError for a wrong shape or another processor. */
export const parseConfig = (document: string): { config: ImageConfig; diffIds: string[] } => {
  const all = jsonObject(document, "image configuration");
  const architecture = text(all["architecture"], "architecture");
  if (architecture !== "" && architecture !== hostArchitecture()) {
    throw new ImageError(`the image is made for ${architecture}, this machine is ${hostArchitecture()}`);
  }
  const os = text(all["os"], "os");
  if (os !== "" && os !== "linux") throw new ImageError(`the image is made for ${os}, not for linux`);
  const part = all["config"];
  const config = part !== null && typeof part === "object" && !Array.isArray(part) ? part : {};
  const rootfs = all["rootfs"];
  const diffIds = rootfs !== null && typeof rootfs === "object" && !Array.isArray(rootfs) ? strings(rootfs["diff_ids"], "rootfs.diff_ids") : [];
  return {
    config: {
      env: strings(config["Env"], "Env"),
      entrypoint: strings(config["Entrypoint"], "Entrypoint"),
      cmd: strings(config["Cmd"], "Cmd"),
      user: text(config["User"], "User"),
      workdir: text(config["WorkingDir"], "WorkingDir"),
    },
    diffIds,
  };
};

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  architecture: string;
  os: string;
  /** Name of the image, from the annotation org.opencontainers.image.ref.name. */
  ref: string;
}

const field = (value: Json | undefined, key: string): Json | undefined =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? value[key] : undefined;

/** Reads one descriptor. Throws ImageError unless its digest is a well-formed SHA-256 (it becomes part of a path). */
export const parseDescriptor = (value: Json | undefined, what: string): Descriptor => {
  const digest = text(field(value, "digest"), `${what} digest`);
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new ImageError(`${what} has the digest '${digest.slice(0, 80)}', which is no sha256 digest`);
  const size = field(value, "size");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw new ImageError(`${what} has no proper size`);
  const platform = field(value, "platform");
  return {
    mediaType: text(field(value, "mediaType"), `${what} mediaType`),
    digest,
    size,
    architecture: text(field(platform, "architecture"), `${what} architecture`),
    os: text(field(platform, "os"), `${what} os`),
    ref: text(field(field(value, "annotations"), "org.opencontainers.image.ref.name"), `${what} ref.name`),
  };
};

/** The list under `key` of a document as descriptors. */
export const descriptorsIn = (document: { [key: string]: Json }, key: string, what: string): Descriptor[] => {
  const list = document[key];
  if (!Array.isArray(list)) throw new ImageError(`${what} has no list '${key}'`);
  return list.map((item, i) => parseDescriptor(item, `${what} ${key}[${i}]`));
};
