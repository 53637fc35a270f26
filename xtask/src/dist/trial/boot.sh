# Boots this system's own systemd as the first process of new namespaces, on a copy of the root
# file system that is written to memory. Nothing of it is left when that process ends.
#
# boot.sh DIRECTORY: DIRECTORY/share is seen inside as /run/trial, what was written as /run/upper.
set -eu

if [ "${2-}" != inside ]; then
	# A control group of its own: the namespace's root.
	tree=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
	group=$tree/kreset-dist-$$
	mkdir "$group"
	echo $$ >"$group/cgroup.procs"
	echo "$group" >"$1/group"
	echo $$ >"$1/pid"
	exec unshare --mount --pid --cgroup --uts --ipc --net --fork --kill-child \
		sh "$0" "$1" inside
fi

mount --make-rprivate /
mount -t tmpfs tmpfs "$1/memory"
cd "$1/memory"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
# A setting written there would change the whole host.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
	touch dev/$device
	mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts run/trial run/upper
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s null dev/console
mount --bind "$1/share" run/trial
mount --bind ../upper run/upper
# Images for containers forbid packages to start anything.
rm -f usr/sbin/policy-rc.d
pivot_root . mnt
umount -l /mnt
exec env -i container=kreset-dist PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no
