// The machine as a whole: clocks, reboot, host name, random bytes, memory figures. See the man page of each call.
import { KernelTimespec, Timeval } from "../abi/layouts.js";
import { LINUX_REBOOT } from "../abi/flags.js";
import { must, sys } from "./call.js";
import { NR } from "../abi/nr.js";
import { setU64, viewOf } from "./struct.js";

const time = new Int32Array(KernelTimespec.SIZE / 4); // seconds and nanoseconds, 64 bits each
const timeAddress = native.addressOf(time.buffer as ArrayBuffer);

/** clock_gettime(2) in milliseconds, with a fraction. */
export function clockMs(clock: number): number {
  sys(NR.clock_gettime, clock, timeAddress);
  return ((time[1] as number) * 4294967296 + ((time[0] as number) >>> 0)) * 1000 + (time[2] as number) / 1e6;
}

/** settimeofday(2): seconds and microseconds since the epoch. */
export function settimeofday(sec: number, usec: number): void {
  const value = new Uint8Array(Timeval.SIZE);
  const view = viewOf(value);
  setU64(view, Timeval.tv_sec, sec);
  setU64(view, Timeval.tv_usec, usec);
  must("settimeofday", NR.settimeofday, value, null);
}

/** reboot(2); returns only when it fails. */
export function reboot(command: number): void {
  must("reboot", NR.reboot, LINUX_REBOOT.MAGIC1, LINUX_REBOOT.MAGIC2, command, null);
}
/** sync(2): may block; never on the loop. */
export function syncAll(): void {
  sys(NR.sync);
}
/** sethostname(2). */
export function sethostname(name: string): void {
  must("sethostname", NR.sethostname, name, native.utf8Encode(name).length);
}
/** getrandom(2): n random bytes (n at most 256: never blocks once the pool is seeded). */
export function getrandom(n: number): Uint8Array {
  const bytes = new Uint8Array(n);
  must("getrandom", NR.getrandom, bytes, n, 0);
  return bytes;
}
/** getpid(2). */
export function getpid(): number {
  return sys(NR.getpid);
}
