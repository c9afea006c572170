#!/bin/sh
# Installs what a build or a test needs and is not there yet, says what, asks nothing.
#   tools/deps.sh agent   compilers, image tools, Node packages
#   tools/deps.sh run     QEMU and a userland for the sample image, besides `agent`
#   tools/deps.sh build   what a compile of the kernel needs, besides `agent`
#   tools/deps.sh test    everything the tests and benchmarks use, besides all of these
# A distribution other than Debian gets the list of what is missing instead.
set -eu
cd "$(dirname "$0")/.."
AGENT="gcc g++ python3 make musl-tools libc6-dev linux-libc-dev xz-utils patch dpkg-dev zstd lz4 cpio erofs-utils e2fsprogs ca-certificates"
KERNEL="bison flex bc libelf-dev libssl-dev kmod rsync"
RUN="qemu-system-x86 qemu-system-common busybox-static squashfs-tools util-linux"
TEST="crun runc iproute2 socat procps podman conmon containerd libarchive-tools strace"
case "${1:-build}" in
agent) want="$AGENT" ;;
run) want="$AGENT $RUN" ;;
build) want="$AGENT $KERNEL" ;;
test) want="$AGENT $KERNEL $RUN $TEST" ;;
*) echo "usage: tools/deps.sh agent|run|build|test" >&2; exit 2 ;;
esac
# The vsock daemon of the VM tests is built from its crate; bookworm's own cargo is too old for it, cargo-web is not.
if [ "${1:-build}" = test ] && ! command -v cargo >/dev/null 2>&1 && [ ! -x "${HOME:-/root}/.cargo/bin/cargo" ] && [ ! -e /dev/vhost-vsock ]; then
  want="$want cargo-web"
fi
command -v node >/dev/null 2>&1 || want="$want nodejs"
command -v npm >/dev/null 2>&1 || want="$want npm"
if command -v dpkg-query >/dev/null 2>&1; then
  missing=""
  for p in $want; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "install ok installed" || missing="$missing $p"
  done
  if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then echo "missing packages:$missing (run as root, or: apt-get install$missing)" >&2; exit 1; fi
    echo "installing Debian packages:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"${TMPDIR:-/tmp}/kata-agent-apt.log" 2>&1 ||
      { tail -n 20 "${TMPDIR:-/tmp}/kata-agent-apt.log" >&2; echo "apt-get failed (log above)" >&2; exit 1; }
  fi
else
  for p in gcc make musl-gcc bison flex bc zstd lz4 mkfs.erofs mke2fs qemu-system-x86_64 busybox; do
    command -v "$p" >/dev/null 2>&1 || echo "not found: $p (this is no Debian system: install it yourself)" >&2
  done
fi
stamp=node_modules/.package-lock.json
if [ ! -e "$stamp" ] || [ package-lock.json -nt "$stamp" ]; then
  echo "installing Node packages (package-lock.json)" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch "$stamp"
fi
