// Waiting for devices. What is there is read from sysfs; the kernel's uevents (Documentation/ABI, netlink(7)
// NETLINK_KOBJECT_UEVENT) only say when to look again. So a device that was there before the agent, or that came while
// nobody listened, is found like any other. The socket is open only while somebody waits. No device is understood here.
import { isErrno } from "../sys/call.js";
import { E } from "../sys/errno.js";
import type { Fd } from "../sys/fd.js";
import { netlink, NETLINK, receiveFromKernel } from "../sys/netlink.js";
import { EPOLL } from "../sys/poll.js";
import { AppError } from "../lib/errors.js";
import { after, watch, type Watch } from "../lib/loop.js";

const KERNEL_GROUP = 1;
const LARGEST = 8192;

let listener: { readonly fd: Fd; readonly watch: Watch } | undefined;
const waiters = new Set<() => void>();

function drain(fd: Fd): void {
  const buffer = new Uint8Array(LARGEST);
  for (;;) {
    try {
      if (receiveFromKernel(fd, buffer) < 0) return;
    } catch (error) {
      if (!isErrno(error, E.ENOBUFS, E.EMSGSIZE)) throw error; // lost ones do not matter: sysfs is looked at anyway
    }
  }
}

function listen(): void {
  if (listener !== undefined) return;
  const fd = netlink(NETLINK.KOBJECT_UEVENT, KERNEL_GROUP);
  listener = {
    fd,
    watch: watch(fd.n, EPOLL.IN, () => {
      drain(fd);
      for (const look of [...waiters]) look();
    }),
  };
}

function forget(look: () => void): void {
  waiters.delete(look);
  if (waiters.size > 0 || listener === undefined) return;
  listener.watch.close();
  listener.fd.close();
  listener = undefined;
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
      forget(look);
      settle();
    };
    const look = (): void => {
      try {
        const found = find();
        if (found !== undefined) end(() => resolve(found));
      } catch (error) {
        end(() => reject(error));
      }
    };
    const timer = after(timeoutMs, () => end(() => reject(new AppError("internal", `Timeout after ${timeoutMs / 1000}s waiting for uevent: ${what} did not appear (agent.hotplug_timeout sets the time)`))));
    waiters.add(look);
    try {
      listen();
    } catch (error) {
      return end(() => reject(error));
    }
    look(); // what came between the first look and the listening
  });
}
