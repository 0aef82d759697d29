#!/bin/sh
# nspawn mounts cgroup controllers of version 1 read-only; containers need them.
for hierarchy in /sys/fs/cgroup/*; do
  mountpoint -q "$hierarchy" && mount -o remount,rw,bind "$hierarchy"
done
exec /lib/systemd/systemd "$@"
