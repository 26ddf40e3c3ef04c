#!/bin/bash
# A removal stops everything and keeps the configuration. A purge leaves only the user, and what the administrator has
# added to /etc/lsbaws.d.
. ./lib.sh

get "$web/"
systemctl enable --now lsbaws-inetd.socket
dpkg --remove lsbaws
[[ -z $(systemctl list-units --all --no-legend 'lsbaws*' | grep -w active) ]]
[[ -z $(ss -ltnH "sport = :8888 or sport = :8889") ]]
[[ -z $(pgrep --euid lsbaws) ]]
(! curl --silent "$web/")
[[ -e /etc/lsbaws.toml && ! -e /usr/bin/lsbaws ]]
[[ -z $(systemctl --failed --quiet) ]]

# After another installation, it works.
dpkg --install /package.deb
get "$web/"

echo '[limits]' >/etc/lsbaws.d/own.toml
dpkg --purge lsbaws
(! dpkg-query --show lsbaws)
[[ $(ls /etc/lsbaws.d) == own.toml ]]
rm -r /etc/lsbaws.d

# Of a directory without other files, a purge leaves nothing.
dpkg --install /package.deb
dpkg --purge lsbaws
./list-files >/var/tmp/files-after
diff /var/tmp/files-before /var/tmp/files-after
[[ -z $(find /etc /usr /var/lib -name '*lsbaws*') ]]
[[ -z $(journalctl --list-catalog | grep lsbaws) ]]
[[ -z $(systemctl list-units --all --no-legend 'lsbaws*') ]]
[[ -z $(systemctl --failed --quiet) ]]
getent passwd lsbaws
