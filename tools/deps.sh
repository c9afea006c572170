#!/bin/sh
# Installs what a build or a test needs and is not there yet, says what, how far it is and how long it will still take; asks nothing.
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

# clock SECONDS: in whole minutes from two on, as a guess is not finer
clock() { if [ "$1" -lt 120 ]; then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi; }

# tell WHAT BEGUN PERCENT: a line with the time that is left, at the pace so far (BEGUN: when it began, seconds)
tell() {
  took=$(($(date +%s) - $2))
  if [ "$took" -ge 3 ] && [ "$3" -ge 3 ] && [ "$3" -lt 100 ]; then
    echo "$1, $3 %, $(clock $took), about $(clock $((took * (100 - $3) / $3))) left" >&2
  else
    echo "$1, $3 %, $(clock $took)" >&2
  fi
}

# apt's status lines on standard input (README.progress-reporting of apt): kind:package:percent:text
apt_progress() {
  kind=""
  while IFS=: read -r now _ percent _; do
    case $now in
    dlstatus) what="  fetching" ;;
    pmstatus) what="  installing" ;;
    *) continue ;;
    esac
    if [ "$now" != "$kind" ]; then kind=$now begun=$(date +%s) last=$(date +%s); fi
    if [ $(($(date +%s) - last)) -ge 10 ]; then
      last=$(date +%s)
      tell "$what" "$begun" "${percent%%.*}"
    fi
  done
}

# The vsock daemon of the VM tests is built from its crate; bookworm's own cargo is too old for it, cargo-web is not.
if [ "${1:-build}" = test ] && ! command -v cargo >/dev/null 2>&1 && [ ! -x "${HOME:-/root}/.cargo/bin/cargo" ] && [ ! -e /dev/vhost-vsock ]; then
  want="$want cargo-web"
fi
command -v node >/dev/null 2>&1 || want="$want nodejs"
command -v npm >/dev/null 2>&1 || want="$want npm"
if command -v dpkg-query >/dev/null 2>&1; then
  # one question for all: a package without a line is not known at all
  there=$(dpkg-query -W -f='${Package} ${Status}\n' $want 2>/dev/null | sed -n 's/ install ok installed$//p')
  missing=""
  for p in $want; do
    case "
$there
" in
    *"
$p
"*) ;;
    *) missing="$missing $p" ;;
    esac
  done
  if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then echo "missing packages:$missing (run as root, or: apt-get install$missing)" >&2; exit 1; fi
    echo "installing Debian packages:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    log="${TMPDIR:-/tmp}/kata-agent-apt.log"
    failed="$log.failed"
    rm -f "$failed"
    # shellcheck disable=SC2086
    { { apt-get update -q && apt-get install -q -y --no-install-recommends -o APT::Status-Fd=3 $missing; } 3>&1 >"$log" 2>&1 || : >"$failed"; } | apt_progress
    if [ -e "$failed" ]; then
      rm -f "$failed"
      tail -n 20 "$log" >&2
      echo "apt-get failed (log above)" >&2
      exit 1
    fi
  fi
else
  for p in gcc make musl-gcc bison flex bc zstd lz4 mkfs.erofs mke2fs qemu-system-x86_64 busybox; do
    command -v "$p" >/dev/null 2>&1 || echo "not found: $p (this is no Debian system: install it yourself)" >&2
  done
fi
stamp=node_modules/.package-lock.json
if [ ! -e "$stamp" ] || [ package-lock.json -nt "$stamp" ]; then
  # those for other processors are left out
  all=$(($(grep -c '^    "node_modules/' package-lock.json) - $(grep -c '"cpu": \[' package-lock.json)))
  echo "installing Node packages ($all, package-lock.json)" >&2
  npm ci --no-audit --no-fund --no-update-notifier --loglevel=error >&2 &
  npm=$!
  trap 'kill $npm 2>/dev/null' EXIT INT TERM HUP
  begun=$(date +%s) last=$begun
  while kill -0 $npm 2>/dev/null; do
    sleep 0.2
    if [ $(($(date +%s) - last)) -ge 5 ]; then
      last=$(date +%s)
      have=$(find node_modules -mindepth 2 -maxdepth 3 -name package.json 2>/dev/null | wc -l)
      [ "$have" -le "$all" ] || have=$all
      tell "  Node packages" "$begun" $((have * 100 / all))
    fi
  done
  wait $npm
  trap - EXIT INT TERM HUP
  touch "$stamp"
fi
