// Out-of-memory events of control groups. The kernel's counter of killed processes decides, never the notification alone:
// notifications may be merged, come early (version 1 tells before it counts) or not come. Each kill is told once.
// Sources: cgroup-v2.rst (memory.events), cgroup-v1/memory.rst section 9 and 10.
import { sys } from "../sys/call.js";
import type { Fd } from "../sys/fd.js";
import { O, open, readRaw } from "../sys/file.js";
import { NR } from "../sys/nr.js";
import { EPOLL, eventfd, IN, inotifyAddWatch, inotifyInit } from "../sys/poll.js";
import { readTextIf } from "../lib/fs.js";
import { after, watch, type Timer } from "../lib/loop.js";
import { lines } from "../lib/text.js";
import { put } from "./cgroup-tree.js";

/** The value after "oom_kill " in memory.events or memory.oom_control; undefined when the file or the line is missing. */
export function oomKills(content: string | undefined): number | undefined {
  for (const line of lines(content ?? "")) if (line.startsWith("oom_kill ")) return Number(line.slice(9));
  return undefined;
}

/** Compares the counter with what has been told. */
class Counter {
  #told: number;
  constructor(readonly file: string, readonly tell: () => void) {
    this.#told = oomKills(readTextIf(file)) ?? 0;
  }
  /** Tells what is new; true when there was something. */
  look(): boolean {
    const kills = oomKills(readTextIf(this.file)) ?? this.#told;
    const fresh = kills > this.#told;
    while (this.#told < kills) {
      this.#told++;
      this.tell();
    }
    return fresh;
  }
}

let inotify: Fd | undefined; // one for all groups
const byWatch = new Map<number, Counter>();

function onInotify(): void {
  const buffer = new Uint8Array(4096);
  const view = new DataView(buffer.buffer);
  for (let n = readRaw((inotify as Fd).n, buffer, 0, buffer.length); n > 0; n = readRaw((inotify as Fd).n, buffer, 0, buffer.length)) {
    for (let at = 0; at + 16 <= n; at += 16 + view.getUint32(at + 12, true)) {
      const wd = view.getInt32(at, true);
      byWatch.get(wd)?.look();
      if ((view.getUint32(at + 4, true) & IN.IGNORED) !== 0) byWatch.delete(wd);
    }
  }
}

/** Watches memory.events of a version 2 group; without the memory controller there is no such file and no such event. */
export function watchV2(dir: string, onOom: () => void): () => void {
  if (readTextIf(`${dir}/memory.events`) === undefined) return () => undefined;
  if (inotify === undefined) {
    inotify = inotifyInit();
    watch(inotify.n, EPOLL.IN, onInotify);
  }
  const fd = inotify;
  const counter = new Counter(`${dir}/memory.events`, onOom);
  const wd = inotifyAddWatch(fd, counter.file, IN.MODIFY);
  byWatch.set(wd, counter);
  return () => {
    counter.look();
    byWatch.delete(wd);
    sys(NR.inotify_rm_watch, fd.n, wd);
  };
}

const EARLY_MS = [2, 5, 10, 20, 50, 100, 250, 500];

/** Watches memory.oom_control of a version 1 group through an eventfd. */
export function watchV1(dir: string, onOom: () => void): () => void {
  const counter = new Counter(`${dir}/memory.oom_control`, onOom);
  const event = eventfd();
  try {
    using control = open(counter.file, O.RDONLY);
    put(dir, "cgroup.event_control", `${event.n} ${control.n}`);
  } catch (error) {
    event.close();
    throw error;
  }
  let timer: Timer | undefined;
  // told before it is counted: look again, a little later each time
  const lookAgain = (i: number): void => {
    timer = undefined;
    const ms = EARLY_MS[i];
    if (!counter.look() && ms !== undefined) timer = after(ms, () => lookAgain(i + 1));
  };
  const count = new Uint8Array(8);
  const watching = watch(event.n, EPOLL.IN, () => {
    readRaw(event.n, count, 0, 8);
    timer?.cancel();
    lookAgain(0);
  });
  return () => {
    counter.look();
    timer?.cancel();
    watching.close();
    event.close();
  };
}
