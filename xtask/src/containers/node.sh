# A node of Kubernetes without kubelet: containerd and its CRI plugin, in a network and a mount
# namespace of their own. All that they write is in memory, and is gone with them.
#
# node.sh DIRECTORY CGROUPS: DIRECTORY has containerd's configuration; CGROUPS is `hybrid` for the
# control groups of this machine, or `unified` for version 2 alone.
set -eu

mount --make-rprivate /
for directory in /run /var/log /var/lib; do
	mount -t tmpfs -o mode=755 tmpfs "$directory"
done
if [ "$2" = unified ]; then
	umount -R /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
hostname kreset-node
ip link set lo up
echo $$ >"$1/pid"
exec containerd --config "$1/containerd.toml" --log-level warn
