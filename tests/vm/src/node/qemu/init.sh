#!/bin/busybox sh
# First program of the lab's virtual machines: loads what the disk and the lab need and hands over to systemd.
/bin/busybox mkdir -p /proc /sys /dev /disk
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
if /bin/busybox grep -q flexnode.probe /proc/cmdline; then
  echo FLEXNODE-KERNEL-IS-UP >/dev/console
  /bin/busybox poweroff -f
fi
while read -r module; do
  /bin/busybox insmod "/modules/$module" || echo "flexnode-lab: $module was not loaded"
done </modules.list
# ext4 takes back what a power cut left in its journal.
/bin/busybox mount -t ext4 -o rw /dev/vda /disk || /bin/busybox poweroff -f
/bin/busybox umount /proc
/bin/busybox umount /sys
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /sbin/init
