// Who a container's process runs as: the `user[:group]` of an image or of the command line, looked up in the image's own
// passwd and group files. Reads a tree, changes nothing. Source: OCI image-spec config.md (User), passwd(5), group(5).
import { headOf } from "../image/content.js";
import { ImageError, type Tree } from "../image/tree.js";

export interface UserIds {
  uid: number;
  gid: number;
  additionalGids: number[];
  home: string;
}

const MAX_FILE = 1024 * 1024;

const textOf = (tree: Tree, path: string): string => {
  const content = tree.lookup(path)?.content;
  if (content === undefined || content.size > MAX_FILE) return "";
  return headOf(content, MAX_FILE).toString("utf8");
};

const rows = (text: string): string[][] => text.split("\n").map((line) => line.split(":")).filter((row) => row.length >= 3);

const number = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined);

/**
 * Ids for `user`, which is "", a name or number, or two of them with a colon; a part that is empty says nothing. A number need
 * not be in the files.
 * Throws ImageError when a name is not there or a number is too large.
 */
export const resolveUser = (tree: Tree, user: string): UserIds => {
  const [name = "", named = ""] = user.split(":");
  const group = named === "" ? undefined : named;
  const passwd = rows(textOf(tree, "etc/passwd"));
  const groups = rows(textOf(tree, "etc/group"));
  const wanted = name === "" ? "0" : name;
  const entry = passwd.find((row) => row[0] === wanted) ?? passwd.find((row) => number(row[2]) === (number(wanted) ?? Number.NaN));
  const uid = entry === undefined ? number(wanted) : number(entry[2]);
  if (uid === undefined) throw new ImageError(`user '${wanted}' is not in the image's /etc/passwd`);
  const byName = groups.find((row) => row[0] === group) ?? groups.find((row) => number(row[2]) === (number(group) ?? Number.NaN));
  const gid = group === undefined ? (number(entry?.[3]) ?? 0) : (number(byName?.[2]) ?? number(group));
  if (gid === undefined) throw new ImageError(`group '${group}' is not in the image's /etc/group`);
  if (uid > 0xfffffffe || gid > 0xfffffffe) throw new ImageError(`user '${user}': ids go up to 4294967294`);
  // Further groups count only when no group was named, as docker has it.
  const members = group !== undefined || entry === undefined ? [] : groups.filter((row) => (row[3] ?? "").split(",").includes(entry[0] ?? ""));
  const additionalGids = members.map((row) => number(row[2]) ?? 0).filter((id) => id !== gid);
  return { uid, gid, additionalGids, home: entry?.[5] || "/" };
};
