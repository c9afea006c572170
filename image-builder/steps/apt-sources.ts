// Owns turning the machine's own apt sources into sources for other suites of the same archive. Pure: file texts in, one text
// out. Takes only entries whose suite is the machine's own release, so third-party archives are never asked for a suite they do
// not have. Source: sources.list(5).

export interface SourceFile {
  readonly name: string;
  readonly text: string;
}

export interface Suites {
  /** Taken from where the release itself comes from. */
  readonly archive: readonly string[];
  /** Taken from where its security updates come from. */
  readonly security: readonly string[];
}

interface Entry {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly signedBy: string | undefined;
}

/** Whether a line is for binary packages or for source packages. */
export type SourceType = "deb" | "deb-src";

const ALIASES = ["stable", "oldstable", "oldoldstable", "testing"];

/**
 * A sources.list text with lines of `type` for the wanted suites at the archives that serve release `codename` on this machine; empty
 * when no such archive is configured. An entry counts as a security archive when its suite ends in "-security".
 */
export function rewriteSources(files: readonly SourceFile[], codename: string, wanted: Suites, type: SourceType = "deb"): string {
  const out = new Set<string>();
  const names = [codename, ...ALIASES];
  for (const entry of files.flatMap(readFile)) {
    const serves = (suffix: readonly string[]): boolean => entry.suites.some((s) => names.some((n) => suffix.some((x) => s === n + x || s === `${n}/updates` && x === "-security")));
    const options = entry.signedBy === undefined ? "" : `[signed-by=${entry.signedBy}] `;
    for (const uri of entry.uris) {
      if (serves(["", "-updates", "-backports"])) for (const suite of wanted.archive) out.add(`${type} ${options}${uri} ${suite} main`);
      if (serves(["-security"])) for (const suite of wanted.security) out.add(`${type} ${options}${uri} ${suite} main`);
    }
  }
  return [...out].map((l) => `${l}\n`).join("");
}

function readFile(file: SourceFile): Entry[] {
  return file.name.endsWith(".sources") ? file.text.split(/\n\s*\n/).flatMap(readStanza) : file.text.split("\n").flatMap(readLine);
}

function readStanza(stanza: string): Entry[] {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#")) continue;
    const m = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
    if (m !== null) {
      last = (m[1] as string).toLowerCase();
      fields.set(last, m[2] as string);
    } else if (/^\s+\S/.test(line) && last !== "") fields.set(last, `${fields.get(last) ?? ""} ${line.trim()}`);
  }
  if (/^no$/i.test(fields.get("enabled") ?? "")) return [];
  const words = (name: string): string[] => (fields.get(name) ?? "").split(/\s+/).filter((w) => w !== "");
  // an armoured key inside the stanza cannot be named in a one-line entry
  const signed = words("signed-by")[0];
  return [{ uris: words("uris"), suites: words("suites"), signedBy: signed?.startsWith("/") === true ? signed : undefined }];
}

function readLine(line: string): Entry[] {
  const m = /^deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line.trim());
  if (m === null) return [];
  const signed = /signed-by=([^\s,]+)/i.exec(m[1] ?? "")?.[1];
  return [{ uris: [m[2] as string], suites: [m[3] as string], signedBy: signed?.startsWith("/") === true ? signed : undefined }];
}
