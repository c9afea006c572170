// Extended attributes and holes of the files in a folder of this machine, which Node has no calls for: a short Python program asks
// the kernel. Sources: listxattr(2), getxattr(2), lseek(2).
import { spawnSync } from "node:child_process";
import type { Piece } from "./content.js";
import { ImageError } from "./tree.js";

export interface Attributes {
  xattrs: Map<string, Buffer>;
  /** Where the data of a file with holes is. */
  pieces?: Piece[];
}

// Writes four fields that end in NUL for each attribute (x, path, name, value in hexadecimal) and each file with holes (h, path,
// pairs of place and size, nothing).
const ASK = `
import errno, os, stat, sys
out = os.fdopen(1, "wb")
def say(*fields): out.write(b"".join(field + b"\\0" for field in fields))
def attributes(path):
    try: names = os.listxattr(path, follow_symlinks=False)
    except OSError as e:
        if e.errno == errno.ENOTSUP: return
        raise
    for name in names:
        try: say(b"x", path, os.fsencode(name), os.getxattr(path, name, follow_symlinks=False).hex().encode())
        except OSError as e:
            if e.errno != errno.ENODATA: raise
def holes(path):
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode) or info.st_blocks * 512 >= info.st_size: return
    pairs, at = [], 0
    with open(path, "rb") as file:
        while at < info.st_size:
            try: begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as e:
                if e.errno == errno.ENXIO: break
                return
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            pairs += [begin, min(at, info.st_size) - begin]
    say(b"h", path, ",".join(map(str, pairs)).encode(), b"")
try:
    attributes(b".")
    left = [b"."]
    while left:
        for entry in os.scandir(left.pop()):
            attributes(entry.path)
            holes(entry.path)
            if entry.is_dir(follow_symlinks=False): left.append(entry.path)
except OSError as e: sys.exit(str(e))
`;

const MAX_OUTPUT = 1 << 30;

const piecesOf = (text: string): Piece[] => {
  const numbers = text === "" ? [] : text.split(",").map(Number);
  const pieces: Piece[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    const [at, size] = [numbers[i] ?? 0, numbers[i + 1] ?? 0];
    if (size > 0) pieces.push({ at, offset: at, size });
  }
  return pieces;
};

/**
 * What there is below a folder, by path in it as a byte string ("" is the folder itself); what has neither attributes nor holes is
 * not named. Throws ImageError when it cannot be told: an image without them would be another one.
 */
export const attributesBelow = (folder: string): Map<string, Attributes> => {
  const { error, status, stdout, stderr } = spawnSync("python3", ["-I", "-S", "-c", ASK], { cwd: folder, maxBuffer: MAX_OUTPUT });
  if (error !== undefined) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new ImageError(`the extended attributes below ${folder} cannot be read: ${missing ? "python3 is not installed (Debian package python3)" : error.message}`);
  }
  if (status !== 0) throw new ImageError(`the extended attributes below ${folder} cannot be read: ${stderr.toString().trim().split("\n").at(-1) ?? ""}`);
  const found = new Map<string, Attributes>();
  const fields = stdout.toString("latin1").split("\0");
  for (let i = 0; i + 3 < fields.length; i += 4) {
    const [what, place = "", first = "", second = ""] = fields.slice(i, i + 4);
    const path = place.replace(/^\.\/?/, "");
    const known = found.get(path) ?? { xattrs: new Map<string, Buffer>() };
    if (what === "x") known.xattrs.set(first, Buffer.from(second, "hex"));
    else known.pieces = piecesOf(first);
    found.set(path, known);
  }
  return found;
};
