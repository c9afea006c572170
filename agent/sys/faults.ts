// Faults from outside, in the build with sanitizers only: KATA_FAULTS in the environment says which system calls are answered by an errno
// instead of being made, so that ways that only another kernel leads to can be gone on this one (docs/faults.md). A copy of this process
// (clone) has the faults and goes on with the count that there was; who executes a program that reads KATA_FAULTS hands them on by it.
import { callNumber } from "../abi/nr-names.js";
import * as errnos from "../abi/errno.js";
import { bytesText } from "./utf8.js";

/** A fault to inject: the result to answer instead of making the call, or undefined to let it pass. */
export type Fault = (nr: number, args: readonly SyscallArg[]) => number | undefined;

/**
 * Which calls fail, and how: those whose argument `at` has the bits, or one of whose texts has `text` in it (with "=" before it: is it); of
 * these from the `first` to the `last`.
 */
interface Rule {
  readonly nr: number;
  readonly text: string | undefined;
  readonly bits: { readonly at: number; readonly mask: bigint } | undefined;
  readonly errno: number;
  readonly first: number;
  readonly last: number;
  met: number;
}

const FORM = "a fault is NAME:ERRNO, NAME[TEXT]:ERRNO, NAME[=TEXT]:ERRNO or NAME[ARGUMENT&BITS]:ERRNO, with @N, the N-th such call, or @N+, from the N-th on";
const MOST_ARGUMENTS = 6;

const numbers = (errnos as unknown as { readonly E: { readonly [name: string]: unknown } }).E;

function whole(text: string): bigint | undefined {
  try {
    return text === "" ? undefined : BigInt(text);
  } catch {
    return undefined;
  }
}

/** A positive number that counts. */
function count(text: string): number | undefined {
  const n = Number(whole(text) ?? 0);
  return n >= 1 && Number.isSafeInteger(n) ? n : undefined;
}

/** The parts of one word: NAME, what stands in brackets, ERRNO, and what follows "@". */
function parts(word: string): { name: string; inside: string | undefined; errno: string; at: string | undefined } {
  const open = word.indexOf("[");
  const close = word.lastIndexOf("]:");
  const bracketed = open > 0 && close > open;
  const colon = bracketed ? close + 1 : word.indexOf(":");
  if (colon < 0) throw new Error(`${word}: ${FORM}`);
  const rest = word.slice(colon + 1);
  const at = rest.indexOf("@");
  return {
    name: bracketed ? word.slice(0, open) : word.slice(0, colon), inside: bracketed ? word.slice(open + 1, close) : undefined,
    errno: at < 0 ? rest : rest.slice(0, at), at: at < 0 ? undefined : rest.slice(at + 1),
  };
}

function bitsOf(word: string, inside: string | undefined): Rule["bits"] {
  const cut = inside?.indexOf("&") ?? -1;
  if (inside === undefined || cut < 0) return undefined;
  const at = whole(inside.slice(0, cut));
  const mask = whole(inside.slice(cut + 1));
  if (at === undefined || mask === undefined || at < 0n || at >= BigInt(MOST_ARGUMENTS) || mask <= 0n) throw new Error(`${word}: ${FORM}`);
  return { at: Number(at), mask };
}

function ruleOf(word: string): Rule {
  const { name, inside, errno, at } = parts(word);
  const nr = callNumber(name);
  if (nr === undefined) throw new Error(`${word}: the agent makes no call "${name}"`);
  const number = numbers[errno];
  if (typeof number !== "number") throw new Error(`${word}: there is no errno "${errno}"`);
  const on = at?.endsWith("+") === true;
  const first = at === undefined ? 1 : count(on ? at.slice(0, -1) : at);
  if (first === undefined || inside === "") throw new Error(`${word}: ${FORM}`);
  const bits = bitsOf(word, inside);
  return { nr, text: bits === undefined ? inside : undefined, bits, errno: number, first, last: at === undefined || on ? Infinity : first, met: 0 };
}

const textOf = (argument: SyscallArg): string => {
  if (typeof argument === "string") return argument;
  if (!(argument instanceof Uint8Array)) return "";
  const end = argument.indexOf(0);
  return bytesText(argument, 0, end < 0 ? argument.length : end);
};

/** The number that an argument is, or the first one of the structure that it names. */
function numberOf(argument: SyscallArg): bigint {
  if (typeof argument === "number") return BigInt(argument);
  if (!(argument instanceof Uint8Array) || argument.length < 8) return 0n;
  return new DataView(argument.buffer, argument.byteOffset).getBigUint64(0, true);
}

function meets({ text, bits }: Rule, args: readonly SyscallArg[]): boolean {
  if (bits !== undefined) return (numberOf(args[bits.at]) & bits.mask) === bits.mask;
  if (text === undefined) return true;
  return args.some((argument) => (text.startsWith("=") ? textOf(argument) === text.slice(1) : textOf(argument).includes(text)));
}

/** The faults that `text` asks for, words with commas between them; undefined for none. Throws Error naming the word that is wrong. */
export function faultsFrom(text: string): Fault | undefined {
  const rules = text.split(",").filter((word) => word !== "").map(ruleOf);
  if (rules.length === 0) return undefined;
  return (nr, args) => {
    let result: number | undefined;
    for (const rule of rules) {
      if (rule.nr !== nr || !meets(rule, args)) continue;
      rule.met++;
      if (rule.met >= rule.first && rule.met <= rule.last) result ??= -rule.errno;
    }
    return result;
  };
}

const NAME = "KATA_FAULTS=";

/** The faults that the environment asks for. Throws Error naming the word that is wrong. */
export const faultsFromEnvironment = (): Fault | undefined => faultsFrom(native.env.find((line) => line.startsWith(NAME))?.slice(NAME.length) ?? "");
