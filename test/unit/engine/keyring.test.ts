// A process without a session keyring of its own must not get the engine's caller's.
import { answerCalls } from "../../helpers/fake-native.js";
import { expect, it } from "vitest";
import { joinKeyring, leaveKeyring } from "../../../agent/engine/child/keyring.js";

const JOIN = 1, SETPERM = 5;
const EDQUOT = 122, EACCES = 13, ENOSYS = 38;

it("where the keyring to be left may hold something, a refusal is an error; where it holds nothing, it is not", () => {
  answerCalls(() => -EDQUOT);
  expect(() => joinKeyring("c", false)).toThrow("EDQUOT");
  leaveKeyring(); // refused as well
  expect(() => joinKeyring("c", false)).toThrow("EDQUOT");
  answerCalls((_nr, [op]) => (op === JOIN ? 77 : -EACCES));
  leaveKeyring(); // joined, but open to others
  answerCalls(() => -EDQUOT);
  expect(() => joinKeyring("c", false)).toThrow("EDQUOT");
  const calls: unknown[][] = [];
  answerCalls((_nr, args) => {
    calls.push([...args].slice(0, 3));
    return args[0] === JOIN ? 78 : 0;
  });
  leaveKeyring();
  expect(calls).toEqual([[JOIN, null, undefined], [SETPERM, 78, 0]]); // nobody may do anything with it
  answerCalls(() => -EDQUOT);
  expect(() => joinKeyring("c", true)).not.toThrow();
});

it("a kernel without keyrings is no error", () => {
  answerCalls(() => -ENOSYS);
  expect(() => joinKeyring("c", false)).not.toThrow();
});
