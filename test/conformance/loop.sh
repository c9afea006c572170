#!/bin/sh
# Runs validation programs of runtime-tools one after the other against one engine; the same on the host and in the VM.
# loop.sh ENGINE OUT SECONDS PROGRAM...   (in the suite's folder; OUT gets NAME.tap, NAME.err and one line per program in times)
engine=$1 out=$2 limit=$3
shift 3
mkdir -p "$out"
: >"$out/times"
for name in "$@"; do
  begin=$(date +%s)
  RUNTIME=$engine timeout -k 5 "$limit" "validation/$name/$name.t" >"$out/$name.tap" 2>"$out/$name.err" </dev/null
  code=$?
  # what a program left behind must not disturb the next one
  for id in $("$engine" list -q 2>/dev/null); do "$engine" delete --force "$id" >/dev/null 2>&1; done
  echo "$name $code $(($(date +%s) - begin))" | tee -a "$out/times" >&2
done
