// What a command said on a standard error that is no terminal: records as logrus writes them (time="..." level=error msg=...), read
// back as a caller reads them.
const RECORD = /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=(error|warning|debug) msg=(?:([\w\-./@^+]*)|"((?:[^"\\]|\\.)*)")$/;
const LETTERS: Record<string, string> = { a: "\u0007", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

/** A text without Go's quotes (strconv.Unquote). */
const unquoted = (text: string): string =>
  text.replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g, (_all, x?: string, u?: string, long?: string, c = "") => (c === "" ? String.fromCodePoint(parseInt(x ?? u ?? long ?? "", 16)) : (LETTERS[c] ?? c)));

export interface Said { readonly level: string; readonly message: string }

/** The records in a text; lines of others are passed over. */
export function said(text: string): Said[] {
  return text.split("\n").flatMap((line) => {
    const [, level, plain, quoted] = RECORD.exec(line) ?? [];
    return level === undefined ? [] : [{ level, message: plain ?? unquoted(quoted ?? "") }];
  });
}

/** The messages of errors. */
export const errorsIn = (text: string): string[] => said(text).filter(({ level }) => level === "error").map(({ message }) => message);

/** The same text with the quotes inside of messages bare, as a person would read them. */
export const readable = (text: string): string => text.replace(/^time="\S+" level=.*$/gm, (record) => record.replaceAll('\\"', '"'));
