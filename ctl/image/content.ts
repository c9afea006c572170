// Bytes of a file of an image: a range of a file of this machine, perhaps with holes. It owns how they are read and hashed.
import { createHash } from "node:crypto";
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { Readable } from "node:stream";

/** A piece of data of a sparse file: it stands at `at` in the file, and its bytes begin at `offset` of the content. */
export interface Piece {
  at: number;
  offset: number;
  size: number;
}

/** Bytes of a file: a range of a file of this machine. Its name is in bytes where it may be no UTF-8. */
export interface Content {
  file: string | Buffer;
  offset: number;
  size: number;
  /** Where the data of a sparse file is, ascending; all between reads as zeros. Absent: `size` bytes from `offset`. */
  pieces?: readonly Piece[];
}

const ZEROS = Buffer.alloc(64 * 1024);

async function* withHoles(content: Content, pieces: readonly Piece[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (const piece of [...pieces, { at: content.size, offset: 0, size: 0 }]) {
    for (; at < piece.at; at += Math.min(ZEROS.length, piece.at - at)) yield ZEROS.subarray(0, Math.min(ZEROS.length, piece.at - at));
    yield* readContent({ file: content.file, offset: content.offset + piece.offset, size: piece.size }) as AsyncIterable<Buffer>;
    at += piece.size;
  }
}

/** The bytes of a content as a stream; holes are zeros. */
export const readContent = (content: Content): Readable => {
  if (content.size === 0) return Readable.from([]);
  if (content.pieces !== undefined) return Readable.from(withHoles(content, content.pieces), { objectMode: false });
  return createReadStream(content.file, { start: content.offset, end: content.offset + content.size - 1 });
};

/** The first `limit` bytes of a content, or all when it is shorter. Throws what open(2) and read(2) say. */
export const headOf = (content: Content, limit: number): Buffer => {
  const out = Buffer.alloc(Math.min(limit, content.size));
  const fd = openSync(content.file, "r");
  try {
    for (const piece of content.pieces ?? [{ at: 0, offset: 0, size: content.size }]) {
      const size = Math.min(piece.size, out.length - piece.at);
      for (let done = 0; done < size; ) {
        const n = readSync(fd, out, piece.at + done, size - done, content.offset + piece.offset + done);
        if (n === 0) break;
        done += n;
      }
    }
  } finally {
    closeSync(fd);
  }
  return out;
};

/** SHA-256 of a content, as `sha256:<hex>`. */
export const digestOf = async (content: Content): Promise<string> => {
  const hash = createHash("sha256");
  for await (const chunk of readContent(content)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
};
