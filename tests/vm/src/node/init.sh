#!/bin/sh
# nspawn mounts cgroup controllers of version 1 read-only; containers need them.
for hierarchy in /sys/fs/cgroup/*; do
  mountpoint -q "$hierarchy" && mount -o remount,rw,bind "$hierarchy"
done
# The kernel's settings are this machine's and not the guest's to change. Files take the place of those that the kubelet
# insists on; the guest's systemd-sysctl writes them, as it would the kernel's.
mkdir -p /run/flexnode-lab
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
  kernel/keys/root_maxbytes; do
  file=/run/flexnode-lab/$(echo "$setting" | tr / .)
  : >"$file"
  mount --bind "$file" "/proc/sys/$setting"
done
# The kernel's log is this machine's, too; the kubelet wants to open it. It reads as /dev/null does; a link to that would be
# hidden from units with ProtectKernelLogs= together with /dev/null.
mknod -m 644 /dev/kmsg c 1 3
exec /lib/systemd/systemd "$@"
