// Programs in sealed memory files: nobody can write to what runs, and the file has no name. See memfd_create(2), fcntl(2).
import { F, MFD, O } from "../abi/flags.js";
import { isErrno, must, sys } from "./call.js";
import { E } from "../abi/errno.js";
import type { Fd } from "./fd.js";
import { fcntl, fstat, memfdCreate, open, writeAll } from "./file.js";
import { NR } from "../abi/nr.js";

const SEALS = F.SEAL_SEAL | F.SEAL_SHRINK | F.SEAL_GROW | F.SEAL_WRITE;

function sealable(name: string): Fd {
  try {
    return memfdCreate(name, MFD.ALLOW_SEALING | MFD.EXEC);
  } catch (error) {
    if (isErrno(error, E.EINVAL)) return memfdCreate(name, MFD.ALLOW_SEALING); // before Linux 6.3 every one could be executed
    throw error;
  }
}

/** A program of these bytes, to be run by execveat(2). Throws SysError. */
export function sealedProgram(name: string, image: Uint8Array): Fd {
  const file = sealable(name);
  writeAll(file, image);
  fcntl(file, F.ADD_SEALS, SEALS);
  return file;
}

/** A sealed copy of the program at `path`; undefined when that is one itself. Throws SysError. */
export function sealedCopy(name: string, path: string): Fd | undefined {
  using from = open(path, O.RDONLY);
  if (sys(NR.fcntl, from.n, F.GET_SEALS, 0) === SEALS) return undefined;
  const file = sealable(name);
  for (let left = fstat(from).size; left > 0; ) left -= must("sendfile", NR.sendfile, file.n, from.n, null, left) || left;
  fcntl(file, F.ADD_SEALS, SEALS);
  return file;
}
