#!/bin/bash
# In a chroot or while an image is built no systemd is running: the package installs all the same, enabled
# for the next boot, and goes again. The same for an administrator whose policy forbids to start anything.
. ./lib.sh

# What tells that systemd is running is out of sight in here.
elsewhere() {
    unshare --mount sh -euxc "mount -t tmpfs none /run/systemd; $1"
}
elsewhere "dpkg --install /package.deb"
[[ -L /etc/systemd/system/sockets.target.wants/lsbaws.socket ]]
getent passwd lsbaws
[[ -z $(ss -ltnH "sport = :8888") ]]
elsewhere "dpkg --install /package.deb; dpkg --remove lsbaws; dpkg --purge lsbaws"
./list-files | diff /var/tmp/files-before -

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm /usr/sbin/policy-rc.d; finish' EXIT
dpkg --install /package.deb
[[ $(systemctl is-enabled lsbaws.socket) == enabled ]]
[[ $(systemctl is-active lsbaws.socket) == inactive ]]
dpkg --purge lsbaws
