#!/bin/bash
# What an attacker reaches under the unit: the attempts of tests/attacks in children of each kind. The program is that of
# the tests, whose handler `probe` executes code; everything else is the package's.
. ./lib.sh

folder=/srv/attacks
units=/etc/systemd/system
remove_units() {
    systemctl stop 'lsbaws-attack-*.socket'
    rm -rf $units/lsbaws-attack-*.socket $units/lsbaws.service.d $folder
    systemctl daemon-reload
    systemctl restart lsbaws.socket
}
on_exit remove_units

port=9000
for name in web mixed exec free app; do
    port=$((port + 1))
    cat >"$units/lsbaws-attack-$name.socket" <<UNIT
[Socket]
ListenStream=127.0.0.1:$port
FileDescriptorName=$name
Service=lsbaws.service
UNIT
done
mkdir -p $units/lsbaws.service.d
cat >$units/lsbaws.service.d/attacks.conf <<'UNIT'
[Unit]
After=lsbaws-attack-web.socket lsbaws-attack-mixed.socket lsbaws-attack-exec.socket lsbaws-attack-free.socket lsbaws-attack-app.socket

[Service]
ExecStart=
ExecStart=/attacks/lsbaws serve
Sockets=lsbaws-attack-web.socket lsbaws-attack-mixed.socket lsbaws-attack-exec.socket lsbaws-attack-free.socket lsbaws-attack-app.socket
UNIT
systemctl daemon-reload
systemctl stop lsbaws.socket lsbaws.service
mkdir -p $folder /etc/lsbaws.d
ATTACKS_UNIT=$folder /attacks/attacks --config >/etc/lsbaws.d/case.toml
systemctl start 'lsbaws-attack-web.socket' 'lsbaws-attack-mixed.socket' 'lsbaws-attack-exec.socket' 'lsbaws-attack-free.socket' 'lsbaws-attack-app.socket'

ATTACKS_UNIT=$folder /attacks/attacks --inside >/tmp/attacks || {
    cat /tmp/attacks
    exit 1
}
report "$(tail -n 1 /tmp/attacks)"
