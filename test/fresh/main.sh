#!/bin/sh
# The README's commands as a stranger runs them, with a clock. In an empty root that debootstrap(8) or mmdebstrap(1) makes: clone and
# `make run` on the bare system; once more in a new clone with an empty HOME, where the Debian packages are there already; and a second
# time. Where no such root can be made (no root, neither program): only the latter two, in a namespace of their own with an empty HOME.
#   test/fresh/main.sh [--test] [--root DIR] [--home] [--keep]
#     --test      `make test` too, in the new clone
#     --root DIR  this root instead of a new one (its packages are changed)
#     --home      the form with an empty HOME, also where a root could be made
#     --keep      leave the root or the folder, and say where it is
# Prints a line for each step as it ends; ends with 1 when one fails. Nothing of the machine is changed but below TMPDIR.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
base=${TMPDIR:-/tmp}
test=no home=no keep=no root=""
while [ $# -gt 0 ]; do
  case $1 in
  --test) test=yes ;;
  --home) home=yes ;;
  --keep) keep=yes ;;
  --root) root=${2:?--root takes a folder} && shift ;;
  *) sed -n '5,9s/^# *//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

now() { date +%s; }

# Seconds of processors that commands had used when `times` wrote the file: other work on the machine does not change them.
children() { awk 'NR == 2 { split($1, user, "m"); split($2, sys, "m"); printf "%d", 60 * (user[1] + sys[1]) + user[2] + sys[2] }' "$place/times"; }

# step NAME COMMAND...: runs it with its output in a log, says how long it took
step() {
  name=$1 log="$place/$(echo "$1" | tr -c 'a-z0-9\n' -).log" begun=$(now)
  shift
  times >"$place/times"
  before=$(children)
  if "$@" >"$log" 2>&1; then
    times >"$place/times"
    printf '%-58s %5d s, %4d s of processors\n' "$name" $(($(now) - begun)) $(($(children) - before))
  else
    printf '%-58s failed after %d s; the last lines:\n' "$name" $(($(now) - begun))
    tail -n 25 "$log"
    failed=1
  fi
}

# The program that makes a root; empty where there is none or it may not be used.
maker() {
  [ "$home" = no ] && [ "$(id -u)" = 0 ] || return 0
  command -v mmdebstrap || command -v debootstrap || :
}

# A new Debian root at $1, by the machine's own sources, which it gets too; nothing is in it but git and make.
make_root() {
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)
  case $(maker) in
  */mmdebstrap) mmdebstrap --variant=minbase "$suite" "$1" "$mirror" ;;
  *) debootstrap --variant=minbase "$suite" "$1" "$mirror" ;;
  esac
}

prepare_root() {
  mkdir -p "$1/etc/apt/sources.list.d" "$1/usr/local/share/ca-certificates"
  for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do [ ! -e "$f" ] || cp "$f" "$1$f"; done
  # names, proxies and certificates: how this machine reaches its registries
  cp -L /etc/resolv.conf "$1/etc/resolv.conf"
  grep -hi proxy /etc/apt/apt.conf.d/* 2>/dev/null >"$1/etc/apt/apt.conf.d/99proxy" || :
  cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || :
  in_root "$1" sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends git make ca-certificates'
}

# in_root ROOT COMMAND...: with the kernel's file systems in a mount namespace that goes away with it, and root's HOME
in_root() {
  at=$1
  shift
  unshare --mount --pid --fork --kill-child sh -c '
    mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev" || exit 1
    exec chroot "$0" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
      NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"' "$at" "$@"
}

clone_into() { # the committed state of this tree, as a stranger gets it
  rm -rf "$1/kata-agent" "$1/.cache" "$1/.npm"
  mkdir -p "$1"
  git clone -q --no-hardlinks "$top" "$1/kata-agent"
}

failed=0
place=$(mktemp -d "$base/kata-fresh-XXXXXX")
made=""
clean() { [ "$keep" = no ] || { echo "left in $place $made"; return 0; }; [ -z "$made" ] || rm -rf "$made"; rm -rf "$place"; }
trap clean EXIT
trap 'exit 130' INT TERM HUP

if [ -n "$root" ] || [ -n "$(maker)" ]; then
  if [ -z "$root" ]; then
    root=$place/root made=$place/root
    step "an empty Debian root" make_root "$root"
    [ $failed = 0 ] || exit 1
  fi
  step "git and make in it" prepare_root "$root"
  run() { in_root "$root" make -C /root/kata-agent "$@"; }
  clone_into "$root/root"
  step "make run, bare: packages, agent, kernel, a container" run run
  clone_into "$root/root"
  step "make run, packages installed, new clone, empty HOME" run run
else
  [ "$home" = yes ] || echo "no Debian root can be made here (not root, or neither debootstrap nor mmdebstrap): a new clone with an empty HOME instead"
  clone_into "$place/home"
  run() { HOME=$place/home unshare --user --map-root-user --mount make -C "$place/home/kata-agent" "$@"; }
  step "make run, packages installed, new clone, empty HOME" run run
fi
step "make run, the second time" run run
[ "$test" = no ] || step "make test" run test
[ $failed = 0 ] || exit 1
