// The guest's /etc/resolv.conf, which containers see through their mounts: the file that the image has is covered by one on
// the sandbox's own file system (the image may be read-only). See agent-api 8.1.2.
import { AT, MNT, MS, S } from "../abi/flags.js";
import { unlinkat } from "../sys/file.js";
import { mount, umount } from "../sys/mount.js";
import { AppError, attempt } from "../lib/errors.js";
import { createFile, mkdirs, statIf } from "../lib/fs.js";

const TARGET = "/etc/resolv.conf";
const DIRECTORY = "/run/kata-containers/sandbox";
const OWN = `${DIRECTORY}/resolv.conf`;

/** Is the target the sandbox's own file already? */
function covered(): boolean {
  const target = statIf(TARGET);
  const own = statIf(OWN);
  return target !== undefined && own !== undefined && target.ino === own.ino && target.devMajor === own.devMajor && target.devMinor === own.devMinor;
}

/** Writes the lines (whole lines of a resolv.conf) and puts the file in place; nothing happens in an image without one. */
export function setDns(lines: readonly string[]): void {
  const target = statIf(TARGET);
  if (lines.length === 0 || target === undefined) return;
  if ((target.mode & S.IFMT) === S.IFDIR) throw new AppError("internal", `${TARGET} is a directory`);
  mkdirs(DIRECTORY);
  attempt("write the sandbox's resolv.conf", () => createFile(OWN, lines.map((l) => l.trim()).join("\n")));
  if (!covered()) attempt(`mount ${OWN} on ${TARGET}`, () => mount(OWN, TARGET, undefined, MS.BIND));
}

/** Uncovers the image's own file. */
export function dropDns(): void {
  if (covered()) attempt(`unmount ${TARGET}`, () => umount(TARGET, MNT.DETACH));
  if (statIf(OWN) !== undefined) unlinkat(AT.FDCWD, OWN); // it may be there and cover nothing, when that could not be done
}
