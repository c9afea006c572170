// Configurations that are almost right: a rich valid one with a few places changed into what people and attackers write.
import fc from "fast-check";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The text, and in words what was changed. */
export class Hostile {
  constructor(readonly text: string, readonly changes: string) {}
  /** What fast-check shows of it. */
  [fc.toStringMethod](): string {
    return this.changes;
  }
}

/** Values of the wrong kind, size or meaning; `tag` is in each name that might be made. */
const values = (tag: string): Json[] => [
  null, true, false, 0, 1, -1, 1.5, 65536, 4294967295, 4294967296, 2 ** 31, 2 ** 53, 2 ** 63, 1e300, -1e300, "", " ", "\0", "a\0b", `${tag}\n${tag}`, "\u001b[2J", "\ud800", "..", `../${tag}`, `/${tag}/../${tag}`,
  `${tag}/${tag}`, `/${tag}`, "/proc", "/proc/self/exe", "/proc/self/fd/3", "/sys", "/dev", "ro", "rbind", "remount", "mode=9", "none", "bind", "tmpfs", "proc", "cgroup", "user", "time", "CAP_ALL", "RLIMIT_X", "SCHED_FIFO", "MPOL_BIND", "SCMP_ACT_NOTIFY",
  "SCMP_ACT_TRAP", "shared", "0-99999", "0", "a\"b]", "%s%n", "💥", "x".repeat(5000), [], {}, [[]], [null], [{}], ["a", "a"], { a: null }, { __proto__: 1, constructor: 2 } as never, { "": "" }, { a: { b: { c: [1, 2, 3] } } },
];

const places = (json: Json, path: (string | number)[] = []): (string | number)[][] =>
  typeof json !== "object" || json === null ? [path] : [path, ...(Array.isArray(json) ? json.map((v, i) => places(v, [...path, i])) : Object.entries(json).map(([k, v]) => places(v, [...path, k]))).flat()];

function change(root: Json, path: readonly (string | number)[], how: number, value: Json): Json {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  const copy = structuredClone(root) as { [name: string]: Json };
  let at = copy;
  for (const part of path.slice(0, -1)) at = at[part] as typeof at;
  const last = path[path.length - 1] as string;
  if (rest.length === 0 && how > 5) delete at[last]; // at the top much is lost with an odd value
  else if (how === 0) Array.isArray(at) ? (at as Json[]).splice(Number(last), 1) : delete at[last];
  else if (how === 1 && Array.isArray(at)) (at as Json[]).push(...structuredClone(at as Json[]));
  else if (how === 2 && Array.isArray(at)) (at as Json[]).splice(Number(last), 0, value);
  else if (how === 3 && !Array.isArray(at)) at[typeof value === "string" ? value.slice(0, 99) : "unknown"] = structuredClone(at[last] as Json);
  else at[last] = value;
  return copy;
}

/** The text with some bytes cut out, doubled or changed. */
const torn = (text: string): fc.Arbitrary<Hostile> =>
  fc.tuple(fc.nat(text.length - 1), fc.nat(12), fc.constantFrom("", '"', "{", "}", "[", ",", ":", "-", "1", "99999999999999999999", "1e999", "\\", "\\u0000", "\u0000", "\ufeff", "null")).map(([at, n, put]) =>
    new Hostile(text.slice(0, at) + put + text.slice(at + n), `${n} characters at ${text.slice(Math.max(0, at - 20), at)}| become ${JSON.stringify(put)}`));

/** A configuration with one to three changes. */
export function hostile(base: object, tag: string): fc.Arbitrary<Hostile> {
  const all = places(base as Json).filter((path) => path.length > 0);
  const one = fc.tuple(fc.constantFrom(...all), fc.nat(9), fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...values(tag)) }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json> }));
  const changed = fc.array(one, { minLength: 1, maxLength: 3 }).map((list) => {
    let json = base as Json;
    const changes: string[] = [];
    for (const [path, how, value] of list) {
      if (path.slice(0, -1).some((_, i) => !isThere(json, path.slice(0, i + 1)))) continue;
      json = change(json, path, how, value);
      changes.push(`${path.join(".")} (${how}) ${JSON.stringify(value).slice(0, 60)}`);
    }
    return new Hostile(JSON.stringify(json), changes.join("; "));
  });
  return fc.oneof({ weight: 8, arbitrary: changed }, { weight: 1, arbitrary: torn(JSON.stringify(base)) });
}

function isThere(json: Json, path: readonly (string | number)[]): boolean {
  let at: Json | undefined = json;
  for (const part of path) at = typeof at === "object" && at !== null && Object.hasOwn(at, part) ? (at as { [name: string]: Json })[part] : undefined;
  return typeof at === "object" && at !== null;
}

/** Does a message begin with a field of the configuration (or say that there is none to name)? */
export const namesField = (message: string): boolean =>
  /^(the configuration|ociVersion|process|root|hostname|domainname|mounts|hooks|annotations|linux|resources)(\.[A-Za-z0-9_]+|\[(\d*|"(\\.|[^"\\])*")\])*: ./.test(message);
