#!/bin/bash
# An upgrade under load: the new program runs, the socket was never closed, no connection failed, and the
# administrator's configuration is unchanged.
. ./lib.sh

rm -rf /tmp/next
dpkg-deb --raw-extract /package.deb /tmp/next
version=$(dpkg-query --show --showformat '${Version}' lsbaws)
sed -i "s/^Version: .*/Version: $version.next/" /tmp/next/DEBIAN/control
dpkg-deb --root-owner-group --build /tmp/next /tmp/next.deb

echo "# a comment of the administrator" >>/etc/lsbaws.toml
# As version 0.1.0 installed it.
chown root:root /etc/lsbaws.toml
chmod 0644 /etc/lsbaws.toml
get "$web/"
supervisor=$(main_pid)
socket=$(show lsbaws.socket InvocationID)
start_load
dpkg --install /tmp/next.deb
# A second time, as after an interrupted upgrade.
/var/lib/dpkg/info/lsbaws.postinst configure "$version"
stop_load

[[ $(dpkg-query --show --showformat '${Version}' lsbaws) == "$version.next" ]]
[[ $(main_pid) != "$supervisor" ]]
[[ $(show lsbaws.socket InvocationID) == "$socket" ]]
[[ $(tail -n 1 /etc/lsbaws.toml) == "# a comment of the administrator" ]]
[[ $(stat --format '%a %U:%G' /etc/lsbaws.toml) == "640 root:lsbaws" ]]

# A mode that the administrator has chosen stays: later, or by dpkg-statoverride at any time.
chmod 0604 /etc/lsbaws.toml
dpkg --install /tmp/next.deb
[[ $(stat --format '%a %U:%G' /etc/lsbaws.toml) == "604 root:lsbaws" ]]
dpkg-statoverride --update --add root nogroup 0600 /etc/lsbaws.toml
/var/lib/dpkg/info/lsbaws.postinst configure "$version"
[[ $(stat --format '%a %U:%G' /etc/lsbaws.toml) == "600 root:nogroup" ]]
dpkg-statoverride --remove /etc/lsbaws.toml
chown root:lsbaws /etc/lsbaws.toml
chmod 0640 /etc/lsbaws.toml

# A disabled socket stays disabled, and a stopped service stays stopped.
systemctl disable --now lsbaws.socket
dpkg --install /tmp/next.deb
[[ $(systemctl is-enabled lsbaws.socket) == disabled ]]
[[ $(systemctl is-active lsbaws.socket) == inactive ]]
[[ $(systemctl is-active lsbaws.service) == inactive ]]
systemctl enable --now lsbaws.socket
get "$web/"
