// The session keyring of a container: its processes share one of their own, so that none sees the keys of the engine's caller.
// See keyctl(2), session-keyring(7); kernel Documentation/security/keys/core.rst for the permission bits.
import { KEY, KEYCTL } from "../../abi/flags.js";
import { check, must, sys } from "../../sys/call.js";
import { E } from "../../abi/errno.js";
import { NR } from "../../abi/nr.js";

let harmless = false;

/**
 * At the start of an agent: leaves the session keyring of whoever started it for an empty one that nobody can look into or add to.
 * A process that inherits it is no better off than without one.
 */
export function leaveKeyring(): void {
  const key = sys(NR.keyctl, KEYCTL.JOIN_SESSION_KEYRING, null);
  harmless = key >= 0 && sys(NR.keyctl, KEYCTL.SETPERM, key, 0) === 0;
}

/**
 * Joins the session keyring "_ses.<id>", or makes it, and lets further processes find it: those of the same user, in a user
 * namespace (where the keyring's owner is another) all. A kernel without keyrings is no error; nor, where the keyring to be left
 * holds nothing, is one that makes no more of them (EDQUOT: any container may have used up its user's share).
 */
export function joinKeyring(id: string, userNamespace: boolean): void {
  const key = sys(NR.keyctl, KEYCTL.JOIN_SESSION_KEYRING, `_ses.${id}`);
  if (key === -E.ENOSYS || (key < 0 && harmless)) return;
  check("keyctl(KEYCTL_JOIN_SESSION_KEYRING)", key);
  const text = new Uint8Array(256);
  const n = must("keyctl(KEYCTL_DESCRIBE)", NR.keyctl, KEYCTL.DESCRIBE, key, text, text.length);
  const fields = (native.utf8Decode(text, 0, Math.min(n, text.length) - 1) ?? "").split(";"); // type;uid;gid;permissions;name
  must("keyctl(KEYCTL_SETPERM)", NR.keyctl, KEYCTL.SETPERM, key, parseInt(fields[3] ?? "", 16) | (userNamespace ? KEY.OTH_SEARCH : KEY.USR_SEARCH));
}
