// Out-of-memory events of control groups. The kernel's counter of killed processes decides, never the notification alone:
// notifications may be merged, come early (version 1 tells before it counts) or not come. Each kill is told once.
// Sources: cgroup-v2.rst (memory.events), cgroup-v1/memory.rst section 9 and 10.
import { InotifyEvent } from "../../abi/layouts.js";
import { EPOLL, IN, O } from "../../abi/flags.js";
import { sys } from "../../sys/call.js";
import { type Fd, handOver } from "../../sys/fd.js";
import { exists, open, readRaw } from "../../sys/file.js";
import { NR } from "../../abi/nr.js";
import { eventfd, inotifyAddWatch, inotifyInit } from "../../sys/poll.js";
import { messageOf } from "../../lib/errors.js";
import { readTextIf } from "../../lib/fs.js";
import { Level, log } from "../../lib/log.js";
import { after, guarded, watch, type Timer, type Watch } from "../../lib/loop.js";
import { lines } from "../../lib/text.js";
import { put } from "./control-file.js";
import type { OomWatch } from "./group.js";

/** The value after "oom_kill " in memory.events or memory.oom_control; undefined when the file or the line is missing. */
export function oomKills(content: string | undefined): number | undefined {
  for (const line of lines(content ?? "")) if (line.startsWith("oom_kill ")) return Number(line.slice(9));
  return undefined;
}

const MOST_TOLD = 100; // at once; nobody keeps more
const PERIOD_MS = 1000;

const due = new Set<Counter>(); // to be looked at by the clock
let clock: Timer | undefined;

function lookLater(counter: Counter): void {
  due.add(counter);
  clock ??= after(PERIOD_MS, () => {
    clock = undefined;
    const all = [...due];
    due.clear();
    for (const one of all) {
      one.look();
      if (one.unheard) lookLater(one);
    }
  });
}

/** Compares the counter with what has been told. Nothing here throws: what cannot be read now is looked at again. */
class Counter implements OomWatch {
  told: number;
  /** No notification tells when to look. */
  unheard = false;
  constructor(readonly file: string, readonly tell: () => void, told: number | undefined) {
    this.told = told ?? this.read() ?? 0;
  }
  private read(): number | undefined {
    try {
      return oomKills(readTextIf(this.file));
    } catch {
      lookLater(this); // no descriptor is free, say
      return undefined;
    }
  }
  /** Tells what is new; true when there was something. */
  look(): boolean {
    const kills = this.read() ?? this.told;
    const fresh = Math.min(kills - this.told, MOST_TOLD);
    this.told = Math.max(kills, this.told);
    for (let i = 0; i < fresh; i++) guarded("out of memory", this.tell);
    return fresh > 0;
  }
  /** Without notifications it is looked at by the clock. */
  withoutNotice(error: unknown): this {
    log(Level.WARN, `${this.file}: kills are looked for every ${PERIOD_MS} ms, since the kernel cannot tell of them: ${messageOf(error)}`);
    this.unheard = true;
    lookLater(this);
    return this;
  }
  /** What notifies it, to be closed. */
  close(): void {}
  stop(): void {
    this.look();
    this.unheard = false;
    due.delete(this);
    this.close();
  }
}

const nothing = (): OomWatch => ({ told: 0, stop: () => undefined });

let inotify: Fd | undefined; // one for all groups
const byWatch = new Map<number, Counter>();

function listener(): Fd {
  return (inotify ??= handOver(inotifyInit(), (fd) => {
    watch(fd.n, EPOLL.IN, onInotify, () => undefined); // what it read is gone; the next event comes all the same
    return fd;
  }));
}

/** One read(2): what else there is makes the descriptor ready again. Many events of one group are one look. */
function onInotify(): void {
  const buffer = new Uint8Array(4096);
  const view = new DataView(buffer.buffer);
  const changed = new Set<Counter | undefined>();
  const n = readRaw((inotify as Fd).n, buffer, 0, buffer.length);
  for (let at = 0; at + InotifyEvent.SIZE <= n; at += InotifyEvent.SIZE + view.getUint32(at + InotifyEvent.len, true)) {
    const wd = view.getInt32(at + InotifyEvent.wd, true);
    const mask = view.getUint32(at + InotifyEvent.mask, true);
    changed.add(byWatch.get(wd));
    if ((mask & IN.IGNORED) !== 0) byWatch.delete(wd);
    if ((mask & IN.Q_OVERFLOW) !== 0) for (const counter of byWatch.values()) lookLater(counter); // some were lost
  }
  for (const counter of changed) counter?.look();
}

/** Watches memory.events of a version 2 group; without the memory controller there is no such file and no such event. Never throws. */
export function watchV2(dir: string, onOom: () => void, told?: number): OomWatch {
  const file = `${dir}/memory.events`;
  if (!exists(file)) return nothing();
  const counter = new Counter(file, onOom, told);
  let fd: Fd;
  let wd: number;
  try {
    fd = listener();
    wd = inotifyAddWatch(fd, file, IN.MODIFY);
  } catch (error) {
    return counter.withoutNotice(error);
  }
  byWatch.set(wd, counter);
  counter.close = () => {
    byWatch.delete(wd);
    sys(NR.inotify_rm_watch, fd.n, wd);
  };
  if (told !== undefined) counter.look(); // there may have been some meanwhile
  return counter;
}

const EARLY_MS = [2, 5, 10, 20, 50, 100, 250, 500];

/** An eventfd that a version 1 group's memory.oom_control has been tied to. */
function notifier(dir: string, file: string): Fd {
  return handOver(eventfd(), (event) => {
    using control = open(file, O.RDONLY);
    put(dir, "cgroup.event_control", `${event.n} ${control.n}`);
    return event;
  });
}

/** Watches memory.oom_control of a version 1 group (undefined: there is none) through an eventfd. Never throws. */
export function watchV1(dir: string | undefined, onOom: () => void, was?: number): OomWatch {
  if (dir === undefined) return nothing();
  const counter = new Counter(`${dir}/memory.oom_control`, onOom, was);
  let timer: Timer | undefined;
  // told before it is counted: look again, a little later each time
  const lookAgain = (i: number): void => {
    timer = undefined;
    const ms = EARLY_MS[i];
    if (!counter.look() && ms !== undefined) timer = after(ms, () => lookAgain(i + 1));
  };
  const count = new Uint8Array(8);
  const told = (event: Fd) => (): void => {
    readRaw(event.n, count, 0, 8);
    timer?.cancel();
    lookAgain(0);
  };
  let watching: Watch;
  let event: Fd;
  try {
    event = notifier(dir, counter.file);
    watching = handOver(event, () => watch(event.n, EPOLL.IN, told(event), () => undefined));
  } catch (error) {
    return counter.withoutNotice(error);
  }
  counter.close = () => {
    timer?.cancel();
    watching.close();
    event.close();
  };
  if (was !== undefined) lookAgain(0);
  return counter;
}
