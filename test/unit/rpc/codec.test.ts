import "../../helpers/fake-native.js";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import { DecodeError, TooMuchError, decode, decodeAs } from "../../../agent/rpc/wire/decode.js";
import { type Init, type Out, encode } from "../../../agent/rpc/wire/encode.js";
import type { Messages } from "../../../agent/rpc/gen/messages.js";
import { schemaOf } from "../../../agent/rpc/wire/schema.js";
import { loadProtos } from "../../../protos/load.js";
import { propertyName } from "../../../protos/names.js";

const root = loadProtos(join(fileURLToPath(import.meta.url), "../../../../protos"));
const types = ["grpc", "types", "ttrpc"].flatMap((pkg) => (root.lookup(pkg) as protobuf.Namespace).nestedArray.filter((o) => o instanceof protobuf.Type));

const bytesOf = <K extends keyof Messages>(type: K, value: Init<Messages[K]>): number[] => {
  const out: Out = { bytes: new Uint8Array(4), at: 0 };
  encode(type, value, out);
  return [...out.bytes.subarray(0, out.at)];
};
const decodeBytes = <K extends keyof Messages>(type: K, ...bytes: number[]): Messages[K] => decode(type, Uint8Array.from(bytes));

type Plain = Record<string, unknown>;
const propertyOf = (f: protobuf.Field): string => propertyName(f.parent?.name ?? "", f.name);

/** A value for one field: [what our codec is given, what protobufjs is given]. 64-bit values stay exact in a double. */
const single = (f: protobuf.Field, depth: number): fc.Arbitrary<[unknown, unknown]> => {
  const same = <T>(a: fc.Arbitrary<T>): fc.Arbitrary<[unknown, unknown]> => a.map((v) => [v, v]);
  if (f.resolvedType instanceof protobuf.Type) return messageArb(f.resolvedType, depth + 1);
  if (f.resolvedType instanceof protobuf.Enum) return same(fc.integer({ min: -1, max: 3 }));
  switch (f.type) {
    case "string": return same(fc.string({ unit: "grapheme", maxLength: 300 }));
    case "bytes": return same(fc.uint8Array({ maxLength: 300 }));
    case "bool": return same(fc.boolean());
    case "uint32": return same(fc.nat(0xffffffff));
    case "int32": return same(fc.integer({ min: -0x80000000, max: 0x7fffffff }));
    case "uint64": return same(fc.maxSafeNat());
    default: return same(fc.maxSafeInteger());
  }
};

const fieldArb = (f: protobuf.Field, depth: number): fc.Arbitrary<[unknown, unknown]> => {
  const one = single(f, depth);
  if (f.map) {
    return fc
      .array(fc.tuple(fc.string({ maxLength: 8 }).filter((k) => k !== "__proto__"), one), { maxLength: 3 })
      .map((list) => [Object.fromEntries(list.map(([k, v]) => [k, v[0]])), Object.fromEntries(list.map(([k, v]) => [k, v[1]]))]);
  }
  if (f.repeated) return fc.array(one, { maxLength: depth > 2 ? 1 : 3 }).map((list) => [list.map((v) => v[0]), list.map((v) => v[1])]);
  return one;
};

const messageArb = (t: protobuf.Type, depth = 0): fc.Arbitrary<[Plain, Plain]> =>
  fc
    .tuple(...t.fieldsArray.map((f) => fc.option(fieldArb(f, depth), { freq: depth === 0 ? 5 : 1, nil: undefined })))
    .map((values) => {
      const ours: Plain = {};
      const theirs: Plain = {};
      values.forEach((v, i) => {
        const f = t.fieldsArray[i] as protobuf.Field;
        if (v === undefined) return;
        ours[propertyOf(f)] = v[0];
        theirs[f.name] = v[1];
      });
      return [ours, theirs];
    });

/** protobufjs' view of a message with our property names, defaults filled in and absent messages left out. */
const translate = (t: protobuf.Type, message: Plain): Plain => {
  const result: Plain = {};
  const convert = (f: protobuf.Field, v: unknown): unknown => {
    if (f.resolvedType instanceof protobuf.Type) return translate(f.resolvedType, v as Plain);
    if (typeof v === "object" && v !== null && "toNumber" in v) return Number(String(v));
    return v instanceof Uint8Array ? [...v] : v;
  };
  for (const f of t.fieldsArray) {
    const v = message[f.name];
    if (f.map) result[propertyOf(f)] = Object.fromEntries(Object.entries((v ?? {}) as Plain).map(([k, x]) => [k, convert(f, x)]));
    else if (f.repeated) result[propertyOf(f)] = ((v ?? []) as unknown[]).map((x) => convert(f, x));
    else if (f.partOf !== null || f.resolvedType instanceof protobuf.Type) {
      if (Object.hasOwn(message, f.name) && v !== null && v !== undefined) result[propertyOf(f)] = convert(f, v);
    } else result[propertyOf(f)] = convert(f, v ?? f.defaultValue);
  }
  return result;
};

/** Makes our result comparable: null-prototype maps and byte views become plain ones. */
const plain = (v: unknown): unknown => {
  if (v instanceof Uint8Array) return [...v];
  if (Array.isArray(v)) return v.map(plain);
  if (typeof v !== "object" || v === null) return v;
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
};

describe("against protobufjs, with random messages", () => {
  test.each(types.map((t) => [t.name, t] as const))("%s", (name, t) => {
    const key = name as keyof Messages;
    fc.assert(
      fc.property(messageArb(t), ([ours, theirs]) => {
        const reference = t.encode(t.create(theirs)).finish();
        const out: Out = { bytes: new Uint8Array(1), at: 0 };
        encode(key, ours as Init<Messages[typeof key]>, out);
        const mine = out.bytes.slice(0, out.at);
        const expected = translate(t, t.decode(reference) as unknown as Plain);
        expect(plain(decode(key, reference))).toEqual(expected);
        expect(plain(decode(key, mine))).toEqual(expected);
        expect(translate(t, t.decode(mine) as unknown as Plain)).toEqual(expected);
      }),
      { numRuns: 15 },
    );
  });
});

describe("numbers", () => {
  test("the limits of 64 bits are kept as well as a number can", () => {
    const all = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    expect(decodeBytes("PidsStats", 0x10, ...all).limit).toBe(2 ** 64);
    expect(decodeBytes("LinuxPids", 0x08, ...all).limit).toBe(-1);
    expect(decodeBytes("POSIXRlimit", 0x10, ...all).hard).toBe(0xffffffffffffffffn);
    expect(decodeBytes("POSIXRlimit", 0x10, 0x80, 0x08).hard).toBe(1024);
    expect(decodeBytes("LinuxPids", 0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01).limit).toBe(-(2 ** 63));
    expect(bytesOf("PidsStats", { limit: 2 ** 64 })).toEqual([0x10, ...all]);
    expect(bytesOf("PidsStats", { limit: 0xffffffffffffffffn })).toEqual([0x10, ...all]);
    expect(bytesOf("LinuxPids", { limit: -1 })).toEqual([0x08, ...all]);
    expect(bytesOf("LinuxPids", { limit: -(2 ** 70) })).toEqual(bytesOf("LinuxPids", { limit: -(2n ** 63n) }));
    expect(bytesOf("LinuxPids", { limit: 2 ** 63 })).toEqual(bytesOf("LinuxPids", { limit: 2n ** 63n - 1n }));
  });

  test("any 64-bit value survives as bigint in a wide field", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (v) => {
        expect(BigInt(decodeBytes("POSIXRlimit", ...bytesOf("POSIXRlimit", { hard: v })).hard)).toBe(v);
      }),
    );
  });

  test("int32 takes the low half of a longer varint, bool any bit of it", () => {
    expect(decodeBytes("WaitProcessResponse", 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01).status).toBe(-1);
    expect(decodeBytes("Root", 0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01).readonly).toBe(true);
  });

  test("lists of numbers may be packed, not packed, or both", () => {
    expect(decodeBytes("AddSwapRequest", 0x0a, 0x02, 0x01, 0x02, 0x08, 0x03, 0x0a, 0x01, 0x04).pciPath).toEqual([1, 2, 3, 4]);
  });
});

describe("proto3 rules", () => {
  test("the last scalar wins, messages that come twice are merged, lists are joined", () => {
    const process = (...args: string[]): Messages["ExecProcessRequest"] => ({ process: { args, cwd: `/${args.length}` } }) as Messages["ExecProcessRequest"];
    const merged = decodeBytes("ExecProcessRequest", ...bytesOf("ExecProcessRequest", process("a")), ...bytesOf("ExecProcessRequest", process("b", "c")));
    expect(merged.process?.args).toEqual(["a", "b", "c"]);
    expect(merged.process?.cwd).toBe("/2");
  });

  test("unknown fields of every wire type are passed over, groups too", () => {
    const known = bytesOf("Root", { path: "/r", readonly: true });
    const unknown = [0xa0, 6, 5, 0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0xa2, 6, 2, 1, 2, 0xa5, 6, 1, 2, 3, 4, 0xa3, 6, 0x08, 1, 0x13, 0x14, 0xa4, 6];
    expect(decodeBytes("Root", ...unknown, ...known, ...unknown)).toEqual({ path: "/r", readonly: true });
  });

  test("a known field with another wire type is passed over like an unknown one", () => {
    expect(decodeBytes("Root", 0x08, 7, 0x12, 1, 1)).toEqual({ path: "", readonly: false });
  });

  test("an optional field or oneof keeps its zero", () => {
    expect(bytesOf("MemAgentMemcgConfig", { disabled: false })).toEqual([0x08, 0]);
    expect(decodeBytes("MemAgentMemcgConfig", 0x08, 0)).toEqual({ disabled: false });
    expect(decodeBytes("LinuxSyscall", 0x18, 0).errnoRet).toBe(0);
    expect("errnoRet" in decodeBytes("LinuxSyscall")).toBe(false);
  });

  test("a map key may be __proto__ and harms nobody", () => {
    const map = decodeBytes("Spec", ...bytesOf("Spec", { annotations: { ["__proto__"]: "x", a: "b" } })).annotations;
    expect(Object.entries(map)).toEqual([["__proto__", "x"], ["a", "b"]]);
  });

  test("bytes are a view on what was given, not a copy", () => {
    const frame = Uint8Array.from([9, 9, 0x1a, 3, 1, 2, 3, 9]);
    const { data } = decode("WriteStreamRequest", frame, 2, 7);
    expect([data.buffer === frame.buffer, data.byteOffset, data.length]).toEqual([true, 4, 3]);
  });

  test("parts longer than 127, 16383 and 2097151 bytes get their length right", () => {
    for (const n of [127, 128, 16383, 16384, 2097151, 2097152, 3000000]) {
      const text = "x".repeat(n);
      const out: Out = { bytes: new Uint8Array(0), at: 0 };
      encode("Spec", { root: { path: text } }, out);
      expect(decode("Spec", out.bytes, 0, out.at).root?.path === text, String(n)).toBe(true);
    }
  });
});

describe("malformed bytes are refused, naming message and field", () => {
  const cases: [string, keyof Messages, number[], string][] = [
    ["value missing", "WaitProcessResponse", [0x08], "WaitProcessResponse.status: it ends in the middle"],
    ["varint cut", "WaitProcessResponse", [0x08, 0x80], "WaitProcessResponse.status: it ends in the middle"],
    ["length missing", "Root", [0x0a], "Root.path: it ends in the middle"],
    ["string cut", "Root", [0x0a, 5, 0x2f], "Root.path: its length reaches past the end"],
    ["huge length", "Root", [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "Root.path: its length reaches past the end"],
    ["inner message past the outer", "ExecProcessRequest", [0x22, 2, 0x22, 5], "Process.args: its length reaches past the end"],
    ["65 bits", "LinuxPids", [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "LinuxPids.limit: a number has more than 64 bits"],
    ["eleven bytes", "LinuxPids", [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], "LinuxPids.limit: a number has more than 64 bits"],
    ["field 0", "Root", [0x00, 1], "Root: field number 0 is not allowed"],
    ["field 0 with length", "Root", [0x02, 1, 1], "Root: field number 0 is not allowed"],
    ["field 0 written long", "Root", [0x80, 0x00, 1], "Root: field number 0 is not allowed"],
    ["field number of 30 bits", "Root", [0x80, 0x80, 0x80, 0x80, 0x10, 1], "Root: a field number has more than 29 bits"],
    ["wire type 6", "Root", [0x0e], "Root.path: wire type 6 does not exist"],
    ["group end alone", "Root", [0x0c], "Root.path: a group ends that did not begin"],
    ["group not ended", "Root", [0xa3, 6, 0x08, 1], "Root.100: it ends in the middle"],
    ["group ended by another", "Root", [0xa3, 6, 0xac, 6], "Root.100: a group ends that did not begin"],
    ["65 groups", "Root", new Array<number>(65).fill(0x0b), "Root.path: groups are nested too deeply"],
    ["not UTF-8", "Root", [0x0a, 1, 0xff], "Root.path: it is not valid UTF-8"],
    ["a surrogate", "Root", [0x0a, 3, 0xed, 0xa0, 0x80], "Root.path: it is not valid UTF-8"],
    ["fixed64 cut", "Root", [0xa1, 6, 1], "Root.100: it ends in the middle"],
    ["packed list cut", "AddSwapRequest", [0x0a, 1, 0x80], "AddSwapRequest.pciPath: it ends in the middle"],
    ["map value cut", "Spec", [0x3a, 2, 0x12, 9], "Spec.annotations: its length reaches past the end"],
  ];
  test.each(cases)("%s", (_what, type, bytes, message) => {
    let error: unknown;
    try {
      decodeBytes(type, ...bytes);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(DecodeError);
    expect((error as Error).message).toBe(message);
  });

  test("nothing is read beyond the end that was given, whatever follows", () => {
    const bytes = Uint8Array.from([0x0a, 3, 0x2f, 0x61, 0x62, 0x10, 1]);
    for (let end = 0; end < bytes.length; end++) {
      const whole = end === 0 || end === 5;
      if (whole) decode("Root", bytes, 0, end);
      else expect(() => decode("Root", bytes, 0, end), String(end)).toThrow(DecodeError);
    }
  });
});

describe("a request is bounded while it is decoded", () => {
  const within = (type: keyof Messages, bytes: Uint8Array | number[]): unknown => decodeAs(schemaOf(type), Uint8Array.from(bytes), 0, bytes.length);
  const times = (n: number, unit: number[]): Uint8Array => Uint8Array.from({ length: n * unit.length }, (_, i) => unit[i % unit.length] as number);
  const refusal = (type: keyof Messages, bytes: Uint8Array | number[]): string => {
    try {
      within(type, bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(TooMuchError);
      return (error as Error).message;
    }
    return "taken";
  };

  test.each<[keyof Messages, number[], number, string]>([
    ["Spec", [0x2a, 0], 4096, "Spec.mounts: more than 4096 elements"],
    ["Process", [0x2a, 0], 32768, "Process.env: more than 32768 elements"],
    ["AddSwapRequest", [0x08, 0], 64, "AddSwapRequest.pciPath: more than 64 elements"],
    ["Spec", [0x3a, 0], 4096, "Spec.annotations: more than 4096 elements"],
  ])("%s of %j takes %i", (type, unit, most, text) => {
    expect(refusal(type, times(most, unit))).toBe("taken");
    expect(refusal(type, times(most + 1, unit))).toBe(text);
  });

  test("numbers in one piece are counted one by one", () => {
    expect(refusal("AddSwapRequest", [0x0a, 64, ...new Uint8Array(64)])).toBe("taken");
    expect(refusal("AddSwapRequest", [0x0a, 65, ...new Uint8Array(65)])).toBe("AddSwapRequest.pciPath: more than 64 elements");
  });

  test("what is passed over, given again or nested has its price", () => {
    for (const unit of [[0xf8, 0x7f, 1], [0xfa, 0x7f, 0], [0xfb, 0x7f, 0xfc, 0x7f], [0x10, 1], [0x0a, 0]]) {
      expect(refusal("Root", times(30_000, unit)), String(unit)).toBe("taken");
      expect(refusal("Root", times(70_000, unit)), String(unit)).toMatch(/^Root\.(path|readonly|2047): the request holds more up to here than 8388608 bytes/);
    }
  });

  test("names and paths have a length, arguments and the like have none", () => {
    const text = (tag: number, n: number): Uint8Array => Uint8Array.from([tag, (n & 127) | 128, ((n >>> 7) & 127) | 128, n >>> 14, ...new Uint8Array(n).fill(47)]);
    expect(refusal("Root", text(0x0a, 65_536))).toBe("taken");
    expect(refusal("Root", text(0x0a, 65_537))).toBe("Root.path: more than 65536 bytes");
    expect(refusal("Process", text(0x22, 1_000_000))).toBe("taken");
    expect(refusal("CopyFileRequest", text(0x0a, 4097))).toBe("CopyFileRequest.path: more than 4096 bytes");
  });

  test("one that is refused or broken leaves nothing to the next", () => {
    refusal("Spec", times(5000, [0x2a, 0]));
    expect(() => within("Root", [0x0a, 9])).toThrow(DecodeError);
    expect(within("Root", [0x0a, 1, 0x2f])).toEqual({ path: "/", readonly: false });
  });
});
