// Messages in the form of runc's logger, whatever they hold: Go's own quotes, byte for byte (strconv.Quote, logrus's TextFormatter).
import "../../helpers/fake-native.js";
import { describe, expect, it } from "vitest";
import { said } from "../../helpers/said.js";

const { line } = await import("../../../agent/cli/messages.js");
const textOf = (message: string): string => line(false, "error", message).replace(/^time="[^"]*" level=error /, "");

describe("a message", () => {
  it.each([
    ["", "msg="], ["plain-word_1/2@3^4+5.6", "msg=plain-word_1/2@3^4+5.6"], ["two words", 'msg="two words"'], ["a=b", 'msg="a=b"'], ["it's", 'msg="it\'s"'], ['say "x"', 'msg="say \\"x\\""'], ["back\\slash", 'msg="back\\\\slash"'],
    ["\u0007\b\f\n\r\t\v", 'msg="\\a\\b\\f\\n\\r\\t\\v"'], ["\u0000\u001b[31m\u007f", 'msg="\\x00\\x1b[31m\\x7f"'], ["ü€😀", 'msg="ü€😀"'], ["\u0085\u00a0\u00ad", 'msg="\\u0085\\u00a0\\u00ad"'],
    ["\u202ecod.exe\u2066\u200b\ufeff", 'msg="\\u202ecod.exe\\u2066\\u200b\\ufeff"'], ["\u{e0001}", 'msg="\\U000e0001"'], ["\udcff", 'msg="\\xff"'],
  ])("%j is written as Go does", (message, wanted) => expect(textOf(message)).toBe(`${wanted}\n`));

  it("is one line, and is read back as it was", () => {
    for (const message of ["", "word", "a\nb", '"\\"', "\u001b\u0007\v\u2028\u{e0001}"]) expect(said(line(false, "warning", message).slice(0, -1))).toEqual([{ level: "warning", message }]);
    expect(JSON.parse(line(true, "debug", "a\nb"))).toEqual({ level: "debug", msg: "a\nb", time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) });
  });

  it("is cut when it has no end", () => {
    expect(line(false, "error", "x".repeat(1 << 20)).length).toBeLessThan(8200);
  });
});
