// What the host asks of the guest as a whole: its features, its clock, its random numbers (agent-api 10.10, 10.11, 10.13).
import { IOCTL, O } from "../abi/flags.js";
import { must } from "../sys/call.js";
import { NR } from "../abi/nr.js";
import { open } from "../sys/file.js";
import { viewOf } from "../sys/struct.js";
import { settimeofday } from "../sys/system.js";
import { AppError, attempt } from "../lib/errors.js";
import { hasMemoryProbe, memoryBlockSize } from "../devices/hotplug.js";
import { driverNames } from "../storage/drivers.js";

/** Mixes the host's random bytes into the kernel's pool, credits all their bits, and makes the kernel use them at once. */
export function reseedRandom(data: Uint8Array): void {
  if (data.length === 0) throw new AppError("internal", "missing entropy data");
  attempt("reseed the random number generator", () => {
    const entropy = new Uint8Array(8 + data.length);
    viewOf(entropy).setInt32(0, data.length * 8, true);
    viewOf(entropy).setInt32(4, data.length, true);
    entropy.set(data, 8);
    using device = open("/dev/random", O.RDWR);
    must("ioctl(RNDADDENTROPY)", NR.ioctl, device.n, IOCTL.RNDADDENTROPY, entropy);
    must("ioctl(RNDRESEEDCRNG)", NR.ioctl, device.n, IOCTL.RNDRESEEDCRNG, 0);
  });
}

/** Sets the clock: seconds and microseconds since the epoch. */
export function setDateTime(sec: number, usec: number): void {
  attempt("set the guest's clock", () => settimeofday(sec, usec));
}

export interface GuestDetails {
  readonly memBlockSizeBytes: number;
  readonly supportMemHotplugProbe: boolean;
  readonly agentDetails: { version: string; initDaemon: boolean; deviceHandlers: string[]; storageHandlers: string[]; supportsSeccomp: boolean; extraFeatures: string[] };
}

/** What this guest can do; the memory's figures only when asked for. */
export function guestDetails(isInit: boolean, memBlockSize: boolean, memHotplugProbe: boolean): GuestDetails {
  return {
    memBlockSizeBytes: memBlockSize ? memoryBlockSize() : 0,
    supportMemHotplugProbe: memHotplugProbe && hasMemoryProbe(),
    agentDetails: { version: __VERSION__, initDaemon: isInit, deviceHandlers: [], storageHandlers: driverNames(), supportsSeccomp: true, extraFeatures: ["seccomp"] },
  };
}
