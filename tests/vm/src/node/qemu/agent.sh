#!/bin/bash
# Runs what the lab asks for, in a virtual machine. A request is a line: base64 of the words, each ended by a zero byte.
# The answer is a line: exit status, standard output and standard error in base64, each behind a letter.
set -u
for name in /sys/class/virtio-ports/*/name; do
  [ "$(<"$name")" = flexnode ] && port=/dev/$(basename "$(dirname "$name")")
done
mkdir -p /run/flexnode-lab
cd /
exec 3<>"$port"
echo up >&3
while read -r request <&3; do
  mapfile -d '' -t words < <(base64 -d <<<"$request")
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin "${words[@]}" 3>&- </dev/null \
    >/run/flexnode-lab/out 2>/run/flexnode-lab/err
  status=$?
  echo "s$status o$(base64 -w0 /run/flexnode-lab/out) e$(base64 -w0 /run/flexnode-lab/err)" >&3
done
