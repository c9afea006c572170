// Reads an OCI image layout or a docker-save archive, given as a lookup from names to contents (a folder or a tar archive).
// It owns the walk index -> manifest -> configuration and layers and the check of every digest. Source: OCI image-spec
// image-layout.md, image-index.md, manifest.md; the manifest.json of docker save.
import type { Json } from "../client/exact-json.js";
import { digestOf, headOf, type Content } from "./content.js";
import { applyLayer } from "./read-layer.js";
import { descriptorsIn, documentText, hostArchitecture, jsonIn, jsonObject, parseConfig, parseDescriptor, type Descriptor, type ImageConfig } from "./config.js";
import { ImageError, Tree } from "./tree.js";

/** Content of the file with that name in the image's folder or archive; undefined when there is none. */
export type Files = (name: string) => Content | undefined;

export interface LoadedImage {
  tree: Tree;
  config: ImageConfig;
}

const MAX_DOCUMENT = 4 * 1024 * 1024;
const MAX_INDEX_DEPTH = 4;

/** A small text file of the image. Throws ImageError when it is missing or not small. */
export const document = (files: Files, name: string): string => {
  const content = files(name);
  if (content === undefined) throw new ImageError(`the image has no ${name}`);
  if (content.size > MAX_DOCUMENT) throw new ImageError(`${name} has ${content.size} bytes; at most ${MAX_DOCUMENT} are taken`);
  return documentText(headOf(content, MAX_DOCUMENT), name);
};

const blobName = (digest: string): string => `blobs/${digest.replace(":", "/")}`;

const blob = async (files: Files, descriptor: Descriptor, what: string): Promise<Content> => {
  const content = files(blobName(descriptor.digest));
  if (content === undefined) throw new ImageError(`${what} ${descriptor.digest} is not in the image`);
  if (content.size !== descriptor.size) throw new ImageError(`${what} ${descriptor.digest} has ${content.size} bytes where ${descriptor.size} were announced`);
  const digest = await digestOf(content);
  if (digest !== descriptor.digest) throw new ImageError(`${what} ${descriptor.digest} is damaged: its bytes have the digest ${digest}`);
  return content;
};

const blobText = async (files: Files, descriptor: Descriptor, what: string): Promise<string> => {
  await blob(files, descriptor, what);
  return document(files, blobName(descriptor.digest));
};

const isIndex = (descriptor: Descriptor): boolean => /image\.index|manifest\.list/.test(descriptor.mediaType);

const fits = (descriptor: Descriptor): boolean =>
  (descriptor.architecture === "" || descriptor.architecture === hostArchitecture()) && (descriptor.os === "" || descriptor.os === "linux");

/** The manifest to use of an index document: by name when `ref` is given, then by platform. */
const chooseManifest = async (files: Files, index: string, ref: string, depth: number): Promise<Descriptor> => {
  if (depth > MAX_INDEX_DEPTH) throw new ImageError("the image's indexes are nested too deep");
  const all = descriptorsIn(jsonObject(index, "image index"), "manifests", "image index");
  const named = ref === "" ? all : all.filter((item) => item.ref === ref);
  if (named.length === 0) {
    const names = all.map((item) => item.ref).filter((name) => name !== "");
    throw new ImageError(ref === "" ? "the image index is empty" : `the image has no '${ref}'; it has: ${names.join(", ") || "no names"}`);
  }
  const usable = named.filter(fits);
  const first = usable[0];
  if (first === undefined) {
    throw new ImageError(`the image is made for ${named.map((item) => `${item.os}/${item.architecture}`).join(", ")}, this machine is linux/${hostArchitecture()}`);
  }
  if (usable.length > 1 && depth === 0 && ref === "" && new Set(usable.map((item) => item.ref)).size > 1) {
    throw new ImageError(`the image holds several: ${usable.map((item) => item.ref).join(", ")}; name one with --ref`);
  }
  return isIndex(first) ? chooseManifest(files, await blobText(files, first, "index"), "", depth + 1) : first;
};

const applyAll = async (layers: { content: Content; name: string }[], diffIds: string[], work: string): Promise<Tree> => {
  const tree = new Tree();
  if (diffIds.length > 0 && diffIds.length !== layers.length) {
    throw new ImageError(`the configuration tells of ${diffIds.length} layers, the manifest of ${layers.length}`);
  }
  for (const [i, layer] of layers.entries()) {
    const plain = await applyLayer(tree, layer.content, work, layer.name);
    const want = diffIds[i];
    const have = want === undefined ? undefined : await digestOf(plain);
    if (have !== want) throw new ImageError(`${layer.name} unpacks to ${have}, the configuration says ${want}`);
  }
  return tree;
};

/** Load from an OCI image layout; `ref` chooses by name when there are several images in it. */
export const loadOciLayout = async (files: Files, ref: string, work: string): Promise<LoadedImage> => {
  const chosen = await chooseManifest(files, document(files, "index.json"), ref, 0);
  const manifest = jsonObject(await blobText(files, chosen, "manifest"), "image manifest");
  const configDescriptor = parseDescriptor(manifest["config"], "image manifest config");
  const { config, diffIds } = parseConfig(await blobText(files, configDescriptor, "configuration"));
  const layers: { content: Content; name: string }[] = [];
  for (const descriptor of descriptorsIn(manifest, "layers", "image manifest")) {
    layers.push({ content: await blob(files, descriptor, "layer"), name: `layer ${layers.length + 1} (${descriptor.digest.slice(0, 19)})` });
  }
  return { tree: await applyAll(layers, diffIds, work), config };
};

const member = (value: Json | undefined, key: string): Json | undefined =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? value[key] : undefined;

/** Load from what `docker save` writes; `ref` chooses by tag when there are several images in it. */
export const loadDockerArchive = async (files: Files, ref: string, work: string): Promise<LoadedImage> => {
  const list = jsonIn(document(files, "manifest.json"), "manifest.json");
  if (!Array.isArray(list)) throw new ImageError("manifest.json is no list");
  const tags = (item: Json): string[] => (member(item, "RepoTags") as string[] | null | undefined) ?? [];
  const fitting = ref === "" ? list : list.filter((item) => tags(item).includes(ref));
  const entry = fitting[0];
  if (entry === undefined) throw new ImageError(`the archive has no '${ref}'; it has: ${list.flatMap(tags).join(", ") || "no names"}`);
  if (fitting.length > 1) throw new ImageError(`the archive holds several images: ${list.flatMap(tags).join(", ")}; name one with --ref`);
  const configName = member(entry, "Config");
  const layerNames = member(entry, "Layers");
  if (typeof configName !== "string" || !Array.isArray(layerNames)) throw new ImageError("manifest.json has no Config or no Layers");
  const { config, diffIds } = parseConfig(document(files, configName));
  const layers = layerNames.map((name, i) => {
    const content = typeof name === "string" ? files(name) : undefined;
    if (content === undefined) throw new ImageError(`layer ${i + 1} (${String(name)}) is not in the archive`);
    return { content, name: `layer ${i + 1} (${String(name)})` };
  });
  return { tree: await applyAll(layers, diffIds, work), config };
};
