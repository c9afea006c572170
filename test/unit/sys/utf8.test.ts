// Bytes of others through text and back: nothing is lost, whatever they are.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerCalls } from "../../helpers/fake-native.js";
import { sys } from "../../../agent/sys/call.js";
import { bytesText, fromOthers, textBytes } from "../../../agent/sys/utf8.js";

const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.string({ unit: "binary", maxLength: 20 }).map((text) => new TextEncoder().encode(text)), fc.array(fc.constantFrom(0xed, 0xb2, 0x80, 0xf0, 0x9f, 0x98, 0xc3, 0x41), { maxLength: 12 }).map((list) => Uint8Array.from(list)));

describe("text of bytes", () => {
  it("is the bytes again, joined or cut at characters, also by way of JSON", () => {
    fc.assert(fc.property(bytes, bytes, (a, b) => {
      const text = bytesText(a);
      expect(textBytes(text)).toEqual(a);
      // two texts side by side: what was no character stays none
      const both = textBytes(`${text}/${bytesText(b)}`);
      expect(both).toEqual(Uint8Array.from([...a, 0x2f, ...b]));
      expect(textBytes(JSON.parse(fromOthers(JSON.stringify(text))) as string)).toEqual(a);
    }));
  });
  it("is a system call's argument with the same bytes, and a NUL inside is left to be refused", () => {
    let seen: readonly unknown[] = [];
    answerCalls((_nr, args) => ((seen = args), 0));
    bytesText(Uint8Array.of(0xff));
    sys(1, 2, "a\udcffb", "plain", "n\0\udcff");
    expect(seen.slice(0, 4)).toEqual([2, Uint8Array.of(0x61, 0xff, 0x62, 0), new TextEncoder().encode("plain\0"), "n\0\udcff"]);
  });
});
