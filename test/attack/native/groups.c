// What container root can do to control groups of its own: deep, many, frozen, threaded, without room.
#include "hostile.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>

static char top[4096];

/** A writable tree of groups: the one that is there, or one mounted now; of version 1 the named controller's. */
static int find_top(const char *controller) {
  mkdir("/tmp/cg", 0755);
  if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0) {
    mount(NULL, "/sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND, NULL);
    strcpy(top, "/sys/fs/cgroup");
    return 0;
  }
  snprintf(top, sizeof top, "/sys/fs/cgroup/%s", controller);
  mount(NULL, top, NULL, MS_REMOUNT | MS_BIND, NULL);
  if (access(top, W_OK) == 0) return 0;
  if (mount("cgroup", "/tmp/cg", "cgroup", 0, controller) < 0) return -errno;
  strcpy(top, "/tmp/cg");
  return 0;
}

static int group(const char *dir, const char *file, const char *text) {
  char path[8400];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  return put(path, text);
}

// deep CONTROLLER N
static int deep(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "freezer") < 0 || chdir(top) < 0) return -1;
  long want = number(argc, argv, 2, 3000), n = 0;
  for (; n < want; n++) if (mkdir("g", 0755) < 0 || chdir("g") < 0) break;
  tell("groups", n);
  return chdir("/");
}

// many CONTROLLER N
static int many(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "freezer") < 0) return -1;
  long want = number(argc, argv, 2, 20000), n = 0;
  for (; n < want; n++) {
    char path[4200];
    snprintf(path, sizeof path, "%s/g%ld", top, n);
    if (mkdir(path, 0755) < 0) break;
  }
  tell("groups", n);
  return 0;
}

/** A process of its own in group `name` below the top (and in a further one in there). */
static pid_t resident(const char *name) {
  char path[4200], text[32];
  snprintf(path, sizeof path, "%s/%s", top, name);
  mkdir(path, 0755);
  pid_t pid = fork();
  if (pid == 0) for (;;) pause();
  snprintf(text, sizeof text, "%d", pid);
  return group(path, "cgroup.procs", text) == 0 ? pid : -1;
}

// freeze CONTROLLER: processes in frozen groups, one in a group in another, which is frozen too.
static int freeze(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "freezer") < 0) return -1;
  long frozen = 0;
  const char *const names[] = {"a", "a/b", "a/b/c", "d"};
  for (int i = 0; i < 4; i++) if (resident(names[i]) > 0) frozen++;
  for (int i = 3; i >= 0; i--) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", top, names[i]);
    if (group(path, "cgroup.freeze", "1") != 0) group(path, "freezer.state", "FROZEN");
  }
  tell("residents", frozen);
  return 0;
}

// freeze-all: everything the container can reach, its own group too (on version 2 the container's top).
static int freeze_all(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "freezer") < 0) return -1;
  if (write(1, "up\ndone\n", 8) < 0) return -1;
  if (group(top, "cgroup.freeze", "1") != 0) group(top, "freezer.state", "FROZEN");
  return 0;
}

// threaded: a threaded group with a process, which cannot be read from in the usual way.
static int threaded(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "pids") < 0) return -1;
  char path[4200];
  snprintf(path, sizeof path, "%s/t", top);
  mkdir(path, 0755);
  tell("threaded", group(path, "cgroup.type", "threaded") == 0);
  tell("residents", resident("t") > 0);
  return 0;
}

// starve: limits at zero for whoever comes.
static int starve(int argc, char **argv) {
  if (find_top(argc > 1 ? argv[1] : "pids") < 0) return -1;
  long set = 0;
  static const char *const files[][2] = {{"pids.max", "0"}, {"memory.max", "0"}, {"memory.high", "0"}, {"cgroup.max.depth", "0"}, {"cgroup.max.descendants", "0"}, {"cpu.max", "1000 1000000"}, {"pids.max", "1"}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) set += group(top, files[i][0], files[i][1]) == 0;
  tell("limits", set);
  return 0;
}

const Command groups[] = {{"groups-deep", deep}, {"groups-many", many}, {"freeze", freeze}, {"freeze-all", freeze_all}, {"threaded", threaded}, {"starve", starve}, {0}};
