// Descriptors set aside for what must work when there is none left (EMFILE, getrlimit(2) RLIMIT_NOFILE): ending processes and removing
// containers, which give descriptors back. They lie open and mean nothing; a job that needs them closes them, and takes them back.
import { F, O } from "../abi/flags.js";
import { Fd } from "../sys/fd.js";
import { fcntl, open } from "../sys/file.js";
import { after } from "./loop.js";

/** What such a job has open at once: a pipe to a helper, a folder or two, a file. */
const SIZE = 8;
const AGAIN_MS = 1000;

let held: Fd[] = [];
let users = 0;
let trying = false;

/** Sets them aside, at the start; those that cannot be had yet are taken as soon as there are some. */
export function fillReserve(): void {
  try {
    if (held.length === 0) held.push(open("/", O.PATH)); // all of one open file: they cost the kernel next to nothing
    while (held.length < SIZE) held.push(new Fd(fcntl(held[0] as Fd, F.DUPFD_CLOEXEC, 3)));
  } catch {
    if (trying) return;
    trying = true;
    after(AGAIN_MS, () => {
      trying = false;
      if (users === 0) fillReserve();
    });
  }
}

/** Runs a job that may use the reserve, if need be: others get no answer from it when everything is in use, this one does. */
export async function withReserve<T>(job: () => Promise<T>): Promise<T> {
  users++;
  for (const fd of held) fd.close();
  held = [];
  try {
    return await job();
  } finally {
    if (--users === 0) fillReserve();
  }
}
