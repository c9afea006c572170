// Sparse files of GNU tar: where their data is, in the old form and the pax forms 0.0, 0.1 and 1.0. Pure but for the given reader.
// Source: GNU tar's manual, "Storing Sparse Files".
import type { Piece } from "./content.js";
import { integerIn, type Records } from "./pax.js";
import { BLOCK, numberAt } from "./tar-header.js";
import { ImageError } from "./tree.js";

export interface SparseMap {
  /** Size of the whole file. */
  size: number;
  pieces: Piece[];
  /** Bytes of the map itself in front of the data. */
  before: number;
}

/** The next block of the archive; undefined when there is none. */
export type NextBlock = () => Promise<Buffer | undefined>;

const MAX_SIZE = 2 ** 40;
const MAX_PIECES = 2 ** 20;

/** Pieces from pairs of place and size. Throws ImageError when they overlap, leave the file, or are not the data that is there. */
const piecesOf = (numbers: readonly number[], size: number, dataSize: number): Piece[] => {
  if (size > MAX_SIZE) throw new ImageError(`sparse file of ${size} bytes: at most ${MAX_SIZE} are taken`);
  if (numbers.length % 2 !== 0 || !(size >= 0)) throw new ImageError("damaged sparse map");
  const pieces: Piece[] = [];
  let end = 0;
  let offset = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const [at, length] = [numbers[i] ?? -1, numbers[i + 1] ?? -1];
    if (!(at >= end) || !(length >= 0) || at + length > size) throw new ImageError("damaged sparse map");
    if (length > 0) pieces.push({ at, offset, size: length });
    end = at + length;
    offset += length;
  }
  if (offset !== dataSize) throw new ImageError(`sparse map of ${offset} bytes where the archive has ${dataSize}`);
  return pieces;
};

// Pairs of a header: 12 bytes each, an unused one begins with NUL.
const pairsAt = (block: Buffer, at: number, count: number): number[] => {
  const numbers: number[] = [];
  for (let place = at; place < at + count * 24 && block[place] !== 0; place += 24) {
    numbers.push(numberAt(block, place, 12, "sparse map"), numberAt(block, place + 12, 12, "sparse map"));
  }
  return numbers;
};

const limited = (numbers: readonly number[]): void => {
  if (numbers.length > MAX_PIECES * 2) throw new ImageError(`sparse map of more than ${MAX_PIECES} pieces`);
};

/** The old form, type S: four pairs in the header, 21 in each block that follows. */
export const oldGnuSparse = async (header: Buffer, dataSize: number, next: NextBlock): Promise<SparseMap> => {
  const numbers = pairsAt(header, 386, 4);
  for (let more = header[482] !== 0; more; ) {
    const block = await next();
    if (block === undefined) throw new ImageError("the archive is cut short in a sparse map");
    numbers.push(...pairsAt(block, 0, 21));
    limited(numbers);
    more = block[504] !== 0;
  }
  const size = numberAt(header, 483, 12, "size of a sparse file");
  return { size, pieces: piecesOf(numbers, size, dataSize), before: 0 };
};

const decimal = (text: string): number => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : -1;
  if (!Number.isSafeInteger(value)) throw new ImageError("damaged sparse map");
  return value;
};

// 1.0: decimal lines in front of the data, first the number of pairs, padded to whole blocks.
const mapBefore = async (next: NextBlock): Promise<{ numbers: number[]; before: number }> => {
  const numbers: number[] = [];
  let before = 0;
  let rest = "";
  let want = 1;
  while (numbers.length < want) {
    const block = await next();
    if (block === undefined) throw new ImageError("the archive is cut short in a sparse map");
    before += BLOCK;
    const lines = (rest + block.toString("latin1")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (numbers.length === want) break;
      numbers.push(decimal(line));
      if (numbers.length === 1) want = 1 + 2 * (numbers[0] ?? 0);
    }
    limited(numbers);
    if (rest.length > BLOCK) throw new ImageError("damaged sparse map");
  }
  return { numbers: numbers.slice(1), before };
};

/**
 * The pax forms; undefined when the entry is none of them. `list` has all records in their order; `next` reads what stands where the
 * data begins. Throws ImageError for a version that is not known.
 */
export const paxSparse = async (records: Records, list: readonly [string, Buffer][], stored: number, next: NextBlock): Promise<SparseMap | undefined> => {
  const keys = [...records.keys()].filter((key) => key.startsWith("GNU.sparse."));
  if (keys.length === 0) return undefined;
  const word = (key: string): string | undefined => records.get(`GNU.sparse.${key}`)?.toString("latin1");
  const version = word("major") === undefined ? (word("map") === undefined ? "0.0" : "0.1") : `${word("major")}.${word("minor") ?? "0"}`;
  const size = integerIn(records, "GNU.sparse.realsize") ?? integerIn(records, "GNU.sparse.size");
  if (size === undefined) throw new ImageError("sparse file without its size");
  if (version === "1.0") {
    const { numbers, before } = await mapBefore(next);
    return { size, pieces: piecesOf(numbers, size, stored - before), before };
  }
  if (version !== "0.0" && version !== "0.1") throw new ImageError(`sparse file of version ${version}, which is not known`);
  const map = word("map");
  const pairs = list.filter(([key]) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes");
  if (pairs.some(([key], i) => (key === "GNU.sparse.offset") !== (i % 2 === 0))) throw new ImageError("damaged sparse map");
  const numbers = map === undefined ? pairs.map(([, value]) => decimal(value.toString("latin1"))) : map === "" ? [] : map.split(",").map(decimal);
  limited(numbers);
  return { size, pieces: piecesOf(numbers, size, stored), before: 0 };
};
