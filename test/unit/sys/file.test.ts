// Writing all of something ends, whatever the file answers.
import { answerCalls } from "../../helpers/fake-native.js";
import { expect, it } from "vitest";
import { Fd } from "../../../agent/sys/fd.js";
import { pwriteAll, writeAll } from "../../../agent/sys/file.js";

const sized = (answers: number[]): number[] => {
  const asked: number[] = [];
  answerCalls((_nr, args) => {
    asked.push(args[2] as number);
    return answers.shift() ?? 0;
  });
  return asked;
};

it.each([
  ["write", (bytes: Uint8Array) => writeAll(new Fd(5), bytes)],
  ["pwrite64", (bytes: Uint8Array) => pwriteAll(new Fd(5), bytes, 7)],
])("%s: pieces and interruptions are gone on with; no progress is EIO; other errors are themselves", (call, write) => {
  const asked = sized([4, -4, 6]);
  write(new Uint8Array(10));
  expect(asked).toEqual([10, 6, 6]);
  sized([4, 0]);
  expect(() => write(new Uint8Array(10))).toThrow(`${call}: EIO`);
  sized([4, -28]);
  expect(() => write(new Uint8Array(10))).toThrow(`${call}: ENOSPC`);
  expect(sized([])).toEqual([]);
  write(new Uint8Array(0));
});
