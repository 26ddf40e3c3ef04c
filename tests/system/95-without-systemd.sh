#!/bin/bash
# In a chroot or during the build of an image, systemd does not run: the package installs, enabled for the next boot, and
# can be removed. The same on a host with a policy against starting services.
. ./lib.sh

# The directory that shows that systemd runs is hidden here.
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
on_exit 'rm /usr/sbin/policy-rc.d'
dpkg --install /package.deb
[[ $(systemctl is-enabled lsbaws.socket) == enabled ]]
[[ $(systemctl is-active lsbaws.socket) == inactive ]]
dpkg --purge lsbaws
