# Installs a deb on a root file system, as a new user does: dpkg, and kreset-trace by hand. Runs in
# mount and network namespaces of its own, and looks at no other.
#
# roots.sh ROOT DEB: prints `distribution`, `installed` and `verdict`, the last two in seconds since
# dpkg was started.
set -eu

mount --make-rprivate /
for tree in proc sys dev; do
	mount --rbind /$tree "$1/$tree"
done
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/tmp"
ip link set lo up
cp "$2" "$1/tmp/kreset.deb"
exec chroot "$1" /bin/bash -euc '
	. /etc/os-release
	echo "distribution $PRETTY_NAME"
	began=$(date +%s%N)
	since() { echo "$1 $((($(date +%s%N) - began) / 100000000))" | sed "s/.$/.&/; s/ \./ 0./"; }
	dpkg --install /tmp/kreset.deb >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; exit 1; }
	since installed
	: >/tmp/events
	kreset-trace --netns /proc/self/ns/net --format json --count 1 --duration 90s \
		>/tmp/events &
	agent=$!
	until grep -q "\"type\":\"start\"" /tmp/events; do kill -0 $agent; done
	! (exec 3<>/dev/tcp/127.0.0.1/9092) 2>/dev/null
	wait $agent
	grep -q "\"cause\":\"refused\"" /tmp/events
	since verdict
	for file in man/man1/kreset-trace.1.gz bash-completion/completions/kreset-trace \
		zsh/vendor-completions/_kreset-trace fish/vendor_completions.d/kreset-trace.fish; do
		# Images leave documentation out; then dpkg knows of it.
		dpkg --listfiles kreset | grep -qx "/usr/share/$file"
	done
	dpkg --purge kreset >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; exit 1; }
	test ! -e /etc/kreset
	test ! -e /usr/bin/kreset-trace
'
