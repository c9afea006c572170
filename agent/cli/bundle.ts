// A bundle: the folder that a container is made from, its configuration in its right form, its paths made absolute.
import { AT, O, S } from "../abi/flags.js";
import { isErrno, sys } from "../sys/call.js";
import { E } from "../abi/errno.js";
import { fdPath } from "../sys/fd.js";
import { modeOf, open, readlinkat } from "../sys/file.js";
import { NR } from "../abi/nr.js";
import { AppError, attempt } from "../lib/errors.js";
import { readFd } from "../lib/fs.js";
import { NO_PROCESS } from "../oci/check-process.js";
import { parseSpec } from "../oci/parse.js";
import type { IdMapping, Spec } from "../oci/spec.js";
import { invalid } from "./context.js";
import type { Options } from "./options.js";

export interface Bundle { readonly dir: string; readonly text: string; readonly spec: Spec }

/** A path without links, as the kernel names what it leads to. */
function realPath(path: string, what: string): string {
  return attempt(`${what} ${path}`, () => {
    using fd = open(path, O.PATH | O.DIRECTORY);
    return readlinkat(AT.FDCWD, fdPath(fd));
  });
}

/** Reads and checks the form of a bundle's configuration; relative paths in it become absolute. */
export function readBundle(options: Options): Bundle {
  const dir = realPath(options.get("bundle") ?? ".", "bundle");
  const file = options.get("config") ?? "config.json";
  const path = file.startsWith("/") ? file : `${dir}/${file}`;
  const text = attempt("read the configuration", () => configText(path));
  const parsed = attempt(path, () => parseSpec(text));
  const spec = withMaps(parsed.process === undefined ? { ...parsed, process: NO_PROCESS } : parsed);
  if (spec.root === undefined) return { dir, text, spec };
  const root = spec.root.path.startsWith("/") ? spec.root.path : `${dir}/${spec.root.path}`;
  return { dir, text, spec: { ...spec, root: { ...spec.root, path: realPath(root, "root.path:") } } };
}

/** A new user namespace without maps has the caller alone as its root, as with crun. */
function withMaps(spec: Spec): Spec {
  const { linux } = spec;
  if (linux?.uidMappings?.length || linux?.gidMappings?.length || !linux?.namespaces?.some((n) => n.type === "user" && !n.path)) return spec;
  const alone = (hostID: number): IdMapping[] => [{ containerID: 0, hostID, size: 1 }];
  return { ...spec, linux: { ...linux, uidMappings: alone(sys(NR.geteuid)), gidMappings: alone(sys(NR.getegid)) } };
}

/** Only a regular file is read: a FIFO would keep the command waiting. */
function configText(path: string): string {
  try {
    using file = open(path, O.RDONLY | O.NONBLOCK);
    if ((modeOf(file) & S.IFMT) !== S.IFREG) throw new AppError("invalid", `${path}: is not a regular file`);
    return native.utf8Decode(readFd(file, path, 16 << 20)) ?? invalid(`${path}: is not UTF-8 text`);
  } catch (error) {
    throw isErrno(error, E.ENOENT) ? new AppError("not-found", `${path}: no such file or directory (a bundle needs a config.json)`) : error;
  }
}
