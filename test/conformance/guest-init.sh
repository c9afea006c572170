#!/bin/sh
# First process of the conformance VM: pure cgroup v2 with every controller, the same loop as on the host, results on the second disk.
export PATH=/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,gid=5 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=1777,size=75% tmp /tmp
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 -o nsdelegate cgroup /sys/fs/cgroup
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control; done
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
hostname conformance
mkdir -p /tmp/out
. /conformance.sh
tar -cf /dev/vdb -C /tmp/out .
sync
echo "conformance: done"
reboot -f
