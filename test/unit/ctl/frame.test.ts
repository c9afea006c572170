// The frame codec against the vectors of ttrpc 13, and against streams cut at every place.
import { describe, expect, it } from "vitest";
import { encodeFrame, FRAME_REQUEST, FrameReader, MAX_FRAME_DATA } from "../../../ctl/client/frame.js";
import { RequestEnvelope, ResponseEnvelope } from "../../../ctl/client/schema.js";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const CHECK = hex("0a 0b 67 72 70 63 2e 48 65 61 6c 74 68 12 05 43 68 65 63 6b");

describe("ttRPC frame", () => {
  it("encodes Health.Check on stream 1 to the known bytes", () => {
    const data = RequestEnvelope.encode({ service: "grpc.Health", method: "Check", timeoutNano: 0 }).finish();
    // protobufjs writes the zero timeout it was given; the known bytes have none.
    expect(Buffer.from(RequestEnvelope.encode({ service: "grpc.Health", method: "Check" }).finish())).toEqual(CHECK);
    expect(data.length).toBeGreaterThanOrEqual(CHECK.length);
    const frame = encodeFrame({ streamId: 1, type: FRAME_REQUEST, flags: 0, data: CHECK });
    expect(frame).toEqual(Buffer.concat([hex("00 00 00 14 00 00 00 01 01 00"), CHECK]));
  });

  it("decodes both legal forms of a good answer", () => {
    for (const form of ["0a 00 12 02 08 01", "12 02 08 01"]) {
      const response = ResponseEnvelope.decode(hex(form)) as unknown as { payload: Uint8Array; status?: { code: number } };
      expect(Buffer.from(response.payload)).toEqual(hex("08 01"));
      expect(response.status?.code ?? 0).toBe(0);
    }
  });

  it("cuts a stream into the same frames wherever it is split", () => {
    const frames = [CHECK, Buffer.alloc(0), Buffer.alloc(300, 7)];
    const stream = Buffer.concat(frames.map((data, i) => encodeFrame({ streamId: 2 * i + 1, type: 2, flags: i, data })));
    for (const step of [1, 2, 3, 7, 9, 10, 11, 31, stream.length]) {
      const reader = new FrameReader();
      const seen = [];
      for (let at = 0; at < stream.length; at += step) seen.push(...reader.push(stream.subarray(at, at + step)));
      expect(seen.map((f) => f.data.toString("hex"))).toEqual(frames.map((d) => d.toString("hex")));
      expect(seen.map((f) => [f.streamId, f.type, f.flags])).toEqual([[1, 2, 0], [3, 2, 1], [5, 2, 2]]);
      expect(reader.pending).toBe(0);
    }
  });

  it("takes data of exactly the limit and refuses one byte more", () => {
    const whole = encodeFrame({ streamId: 1, type: 2, flags: 0, data: Buffer.alloc(MAX_FRAME_DATA) });
    expect(new FrameReader().push(whole)[0]?.data.length).toBe(MAX_FRAME_DATA);
    expect(() => encodeFrame({ streamId: 1, type: 1, flags: 0, data: Buffer.alloc(MAX_FRAME_DATA + 1) })).toThrow("4194305 exceed maximum message size of 4194304");
    expect(() => new FrameReader().push(hex("00 40 00 01 00 00 00 01 02 00"))).toThrow(/4194305/);
  });

  it("keeps the bytes of a cut frame and counts them", () => {
    const reader = new FrameReader();
    expect(reader.push(hex("00 00 00 14 00 00"))).toEqual([]);
    expect(reader.pending).toBe(6);
  });
});
