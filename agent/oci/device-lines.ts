// Device rules as version 1 of the cgroups takes them: lines for devices.allow and devices.deny. The kernel keeps a default and
// exceptions from it that must match exactly, so the rules are worked out here first, and only what differs from what the
// group has is written: at no moment is more open than before or after. Pure. Source: Documentation/admin-guide/cgroup-v1/devices.rst.
import { lines, words } from "../lib/text.js";
import { accessBits, ANY, effective, type Rule } from "./device-rules.js";
import { refuse } from "./field.js";
import type { DeviceRule } from "./spec.js";

type Line = [file: "devices.allow" | "devices.deny", line: string];
interface Exception { readonly type: string; readonly major: string; readonly minor: string; bits: number }
/** By "c 1:3". */
type Exceptions = Map<string, Exception>;

const star = (n: number): string => (n === ANY ? "*" : String(n));
const letters = (bits: number): string => (bits & 2 ? "r" : "") + (bits & 4 ? "w" : "") + (bits & 1 ? "m" : "");
const within = (a: string, b: string): boolean => b === "*" || a === b;
const meet = (a: string, b: string): boolean => a === "*" || within(a, b);

/** Takes an access back. The kernel cannot take a part out of an exception. */
function takeBack(list: Exceptions, key: string, { type, major, minor, bits }: Exception): void {
  // one device can only be in four of them: with many rules, looking at all would be quadratic
  const names = major === "*" || minor === "*" ? [...list.keys()] : [key, `${type} ${major}:*`, `${type} *:${minor}`, `${type} *:*`];
  for (const name of names) {
    const x = list.get(name);
    if (x === undefined || x.type !== type || (x.bits & bits) === 0 || !meet(x.major, major) || !meet(x.minor, minor)) continue;
    if (!within(x.major, major) || !within(x.minor, minor)) refuse("linux.resources.devices", `cgroup version 1 cannot take ${key} out of ${name}`);
    x.bits &= ~bits;
  }
}

function exceptions(rules: readonly Rule[], open: boolean): Exceptions {
  const list: Exceptions = new Map();
  for (const rule of rules) {
    for (const type of rule.type === "a" ? ["b", "c"] : [rule.type]) {
      const x = { type, major: star(rule.major), minor: star(rule.minor), bits: accessBits(rule.access) };
      const key = `${type} ${x.major}:${x.minor}`;
      if (rule.allow === open) takeBack(list, key, x);
      else list.set(key, { ...x, bits: x.bits | (list.get(key)?.bits ?? 0) });
    }
  }
  return list;
}

/** Access bits by "c 1:3" of a devices.list; undefined when everything is allowed (its exceptions are not told). */
function current(text: string): Map<string, number> | undefined {
  const has = new Map<string, number>();
  for (const line of lines(text)) {
    const [type = "", numbers = "", access = ""] = words(line);
    if (type === "a") return undefined;
    has.set(`${type} ${numbers}`, accessBits(access));
  }
  return has;
}

/** The writes, in order, that make a group with this devices.list follow the rules. Throws "invalid" for what version 1 cannot express. */
export function deviceLines(rules: readonly DeviceRule[], list: string): Line[] {
  const { list: counting, open } = effective(rules);
  const wanted = exceptions(counting, open);
  const was = current(list);
  const out: Line[] = [];
  if (open || was === undefined) out.push([open ? "devices.allow" : "devices.deny", "a"]);
  const has = (!open && was) || new Map<string, number>();
  const put = (file: Line[0], key: string, bits: number): void => void (bits !== 0 && out.push([file, `${key} ${letters(bits)}`]));
  for (const [key, { bits }] of wanted) put(open ? "devices.deny" : "devices.allow", key, bits & ~(has.get(key) ?? 0));
  for (const [key, bits] of has) put("devices.deny", key, bits & ~(wanted.get(key)?.bits ?? 0));
  return out;
}
