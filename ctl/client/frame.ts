// The ttRPC frame: ten bytes of header (big-endian length, stream id, type, flags) and then the data.
// Pure: bytes in, frames out. It knows no message and no socket. Source: containerd/ttrpc PROTOCOL.md.

/** Most data bytes one frame may carry (4 MiB, inclusive). */
export const MAX_FRAME_DATA = 4 * 1024 * 1024;

/** Bytes before the data of every frame. */
export const FRAME_HEADER = 10;

export const FRAME_REQUEST = 1;
export const FRAME_RESPONSE = 2;
export const FRAME_DATA = 3;

export interface Frame {
  /** Which call the frame belongs to; odd when the client began it. */
  streamId: number;
  /** FRAME_REQUEST, FRAME_RESPONSE, FRAME_DATA or a number unknown to us. */
  type: number;
  flags: number;
  data: Buffer;
}

/** One frame as bytes. Throws RangeError when the data is longer than a frame may carry. */
export const encodeFrame = (frame: Omit<Frame, "data"> & { data: Uint8Array }): Buffer => {
  if (frame.data.length > MAX_FRAME_DATA) {
    throw new RangeError(`message length ${frame.data.length} exceed maximum message size of ${MAX_FRAME_DATA}`);
  }
  const out = Buffer.allocUnsafe(FRAME_HEADER + frame.data.length);
  out.writeUInt32BE(frame.data.length, 0);
  out.writeUInt32BE(frame.streamId, 4);
  out.writeUInt8(frame.type, 8);
  out.writeUInt8(frame.flags, 9);
  out.set(frame.data, FRAME_HEADER);
  return out;
};

/** Cuts a byte stream into frames, whatever the sizes of the pieces it arrives in. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #size = 0;

  /** Bytes held back because their frame is not complete. */
  get pending(): number {
    return this.#size;
  }

  /**
   * Take the next piece of the stream; returns the frames it completes, in order.
   * Throws RangeError when a header announces more than a frame may carry: the stream cannot be followed from there.
   */
  push(piece: Buffer): Frame[] {
    this.#pieces.push(piece);
    this.#size += piece.length;
    const frames: Frame[] = [];
    while (this.#size >= FRAME_HEADER) {
      const head = this.#front(FRAME_HEADER);
      const length = head.readUInt32BE(0);
      if (length > MAX_FRAME_DATA) throw new RangeError(`a frame of ${length} bytes was announced, the limit is ${MAX_FRAME_DATA}`);
      const whole = FRAME_HEADER + length;
      if (this.#size < whole) break;
      const bytes = this.#front(whole);
      frames.push({ streamId: bytes.readUInt32BE(4), type: bytes.readUInt8(8), flags: bytes.readUInt8(9), data: bytes.subarray(FRAME_HEADER, whole) });
      this.#drop(whole);
    }
    return frames;
  }

  // Joins pieces only as far as needed, so that a large frame in many pieces is copied once and not once for each piece.
  #front(count: number): Buffer {
    const first = this.#pieces[0];
    if (first !== undefined && first.length >= count) return first;
    let have = 0;
    let used = 0;
    while (have < count) have += this.#pieces[used++]?.length ?? 0;
    const joined = Buffer.concat(this.#pieces.slice(0, used), have);
    this.#pieces.splice(0, used, joined);
    return joined;
  }

  #drop(count: number): void {
    const first = this.#pieces[0];
    if (first === undefined) return;
    if (first.length === count) this.#pieces.shift();
    else this.#pieces[0] = first.subarray(count);
    this.#size -= count;
  }
}
