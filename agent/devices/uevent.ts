// Waiting for devices. What is there is read from sysfs; the kernel's uevents (Documentation/ABI, netlink(7)
// NETLINK_KOBJECT_UEVENT) only say when to look again. So a device that was there before the agent, or that came while
// nobody listened, is found like any other. The socket is open only while somebody waits. No device is understood here; where drivers
// are modules, `drivers` brings those of new devices, aside.
import { EPOLL } from "../abi/flags.js";
import { NETLINK } from "../abi/rtnl.js";
import { type Fd, handOver } from "../sys/fd.js";
import { FOREIGN, netlink, NOTHING, receiveFromKernel } from "../sys/netlink.js";
import { AppError, messageOf } from "../lib/errors.js";
import { reportFault } from "../lib/fault.js";
import { Level } from "../lib/log.js";
import { after, type Timer, watch, type Watch } from "../lib/loop.js";
import { Tally } from "../lib/tally.js";

const KERNEL_GROUP = 1;
const LARGEST = 8192;
const AT_ONCE = 64; // messages before others get their turn
const QUIET_MS = 20; // between two looks: who makes devices without end gets no more of them

const notKernel = new Tally(Level.WARN);
const driverless = new Tally(Level.WARN);
let listener: { readonly fd: Fd; readonly watch: Watch } | undefined;
const waiters = new Set<() => void>();
let quiet: Timer | undefined;
let missed = false; // something came while it was quiet
let drivers: (() => Promise<unknown>) | undefined;
let bringing: "no" | "yes" | "again" = "no";

/** From now on `load` runs when somebody waits for a device and after each event; it is never run twice at once. */
export function driversBy(load: () => Promise<unknown>): void {
  drivers = load;
}

function bringDrivers(): void {
  if (drivers === undefined) return;
  if (bringing !== "no") {
    bringing = "again";
    return;
  }
  bringing = "yes";
  drivers().catch((error: unknown) => driverless.tell(() => messageOf(error))).then(() => {
    const again = bringing === "again" && listener !== undefined;
    bringing = "no";
    if (again) bringDrivers();
  }, (error: unknown) => reportFault(error, "drivers of new devices"));
}

function drain(fd: Fd): void {
  const buffer = new Uint8Array(LARGEST);
  for (let i = 0; i < AT_ONCE; i++) {
    let n: number;
    try {
      n = receiveFromKernel(fd, buffer);
    } catch {
      missed = true; // ENOBUFS, EMSGSIZE or whatever: lost ones do not matter, sysfs is looked at anyway
      return;
    }
    if (n === NOTHING) return;
    if (n === FOREIGN) notKernel.tell(() => "a device event that is not the kernel's was dropped");
    else missed = true;
  }
}

function look(): void {
  if (!missed || quiet !== undefined) return;
  missed = false;
  bringDrivers();
  for (const one of [...waiters]) one();
  if (listener === undefined) return;
  quiet = after(QUIET_MS, () => {
    quiet = undefined;
    look();
  });
}

function listen(): void {
  if (listener !== undefined) return;
  listener = handOver(netlink(NETLINK.KOBJECT_UEVENT, KERNEL_GROUP), (fd) => ({
    fd,
    watch: watch(fd.n, EPOLL.IN, () => {
      drain(fd);
      look();
    }),
  }));
}

function forget(one: () => void): void {
  waiters.delete(one);
  if (waiters.size > 0 || listener === undefined) return;
  listener.watch.close();
  listener.fd.close();
  listener = undefined;
  quiet?.cancel();
  quiet = undefined;
  missed = false;
}

/**
 * Resolves with what `find` gives as soon as that is not undefined: now, or after one of the kernel's next events.
 * Rejects with what `find` throws, or, after `timeoutMs`, with an AppError that names `what`.
 */
export function waitForDevice<T>(what: string, timeoutMs: number, find: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const there = find();
    if (there !== undefined) return resolve(there);
    const end = (settle: () => void): void => {
      timer.cancel();
      forget(again);
      settle();
    };
    const again = (): void => {
      try {
        const found = find();
        if (found !== undefined) end(() => resolve(found));
      } catch (error) {
        end(() => reject(error));
      }
    };
    const timer = after(timeoutMs, () => end(() => reject(new AppError("internal", `Timeout after ${timeoutMs / 1000}s waiting for uevent: ${what} did not appear (agent.hotplug_timeout sets the time)`))));
    waiters.add(again);
    try {
      listen();
    } catch (error) {
      return end(() => reject(error));
    }
    again(); // what came between the first look and the listening
    if (waiters.has(again)) bringDrivers();
  });
}
