// What the kernel counts for each user, or for the whole machine, and the agent needs: root in a container is the same user as PID 1, so
// any container could use it up for all. PID 1 owns the machine and raises each as far as it goes. What bounds a container then is its
// memory: the kernel charges every one of these things to the control group of who makes it.
//
// Left as they are, each with its reason:
//   kernel.keys.*              a key's payload is charged to nobody, and these bound it; who finds no room gets along (engine/child/keyring.ts)
//   fs.nr_open                 only the ceiling of limits that a container is given with its configuration
//   fs.mount-max               counted for each mount namespace: a container fills its own
//   kernel.sem, shm*, msg*     counted for each ipc namespace, and the agent uses none; likewise fs.mqueue.*, whose bytes are a limit of the user
//   net.core.*, tcp_mem        bounds of each socket or of TCP: the agent talks over vsock, and a lost device event is looked up (uevent.ts)
//   vsock buffers              counted for each connection
//   cgroup.max.*               a limit of each group, no common store
import { O } from "../abi/flags.js";
import { open, writeAll } from "../sys/file.js";
import { messageOf } from "../lib/errors.js";
import { Level, log } from "../lib/log.js";

const MOST_INT = "2147483647";
const MOST_LONG = "9223372036854775807";

/** Files below /proc/sys, what is written there, and what stops working when they run out. */
const QUOTAS: readonly (readonly [file: string, value: string, need: string])[] = [
  ["fs/epoll/max_user_watches", MOST_LONG, "connections, streams, helpers"],
  ["fs/inotify/max_user_instances", MOST_INT, "events of a group that ran out of memory"],
  ["fs/inotify/max_user_watches", MOST_INT, "events of a group that ran out of memory"],
  ["fs/pipe-user-pages-soft", "0", "streams with room for more than one write (0: no limit)"],
  ["fs/file-max", MOST_LONG, "any open file"],
  ["kernel/pid_max", "4194304", "any process"],
  ["kernel/threads-max", "4194304", "any process"],
  ["kernel/pty/max", "1048576", "terminals"],
  ["user/max_cgroup_namespaces", MOST_INT, "containers"],
  ["user/max_ipc_namespaces", MOST_INT, "containers"],
  ["user/max_mnt_namespaces", MOST_INT, "containers"],
  ["user/max_net_namespaces", MOST_INT, "containers"],
  ["user/max_pid_namespaces", MOST_INT, "containers"],
  ["user/max_time_namespaces", MOST_INT, "containers"],
  ["user/max_user_namespaces", MOST_INT, "containers"],
  ["user/max_uts_namespaces", MOST_INT, "containers"],
];

/** Raises them; a kernel without one of the files, or with another idea of it, is no error. */
export function raiseQuotas(): void {
  for (const [file, value, need] of QUOTAS) {
    try {
      using fd = open(`/proc/sys/${file}`, O.WRONLY);
      writeAll(fd, value);
    } catch (error) {
      log(Level.DEBUG, `${file} stays as it is (it bounds ${need}): ${messageOf(error)}`);
    }
  }
}
