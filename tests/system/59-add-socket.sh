#!/bin/bash
# The steps of "Additional sockets" in lsbaws(8) add a socket to a busy server, and no connection fails. Afterwards the
# socket starts at boot, and lsbaws.socket moves to another address by a restart of the socket alone.
. ./lib.sh

units=/etc/systemd/system
remove_units() {
    systemctl disable --now files.socket
    rm -rf $units/files.socket $units/lsbaws.service.d $units/lsbaws.socket.d
    systemctl daemon-reload
    systemctl restart lsbaws.socket
}
on_exit remove_units

steps=$(mktemp)
zcat /usr/share/man/man8/lsbaws.8.gz | sed -n '/^\.Ss Additional sockets/,/^\.Ss Programs/p' >"$steps"

# Writes the file that the manual shows, whose first line is a comment with its path.
write_unit() { # PATH
    mkdir -p "$(dirname "$1")"
    sed -n "\|^# $1\$|,/^\.Ed/ { /^[#.]/!p }" "$steps" >"$1"
    [[ -s $1 ]]
}

configure <<'TOML'
[service.web]

[service.files]
protocol = "exec"
command = ["/bin/echo", "added"]
TOML
get "$web/"
write_unit $units/files.socket
start_load

# systemd does not start a socket unit of a service that runs.
systemctl daemon-reload
(! systemctl start files.socket)
systemctl reset-failed files.socket || true
(! send_raw 873 '')

write_unit $units/lsbaws.service.d/files.conf
supervisor=$(main_pid)
grep -c '^# systemctl ' "$steps"
while read -r _ command; do
    $command
done < <(grep '^# systemctl ' "$steps")
[[ $(main_pid) != "$supervisor" ]]
[[ $(send_raw 873 '') == added ]]

# Another restart keeps both.
systemctl restart lsbaws.service
[[ $(send_raw 873 '') == added ]]
stop_load
[[ $(systemctl is-enabled files.socket) == enabled ]]
[[ $(systemctl is-active files.socket) == active ]]

# As the comment in lsbaws.socket has it. The daemon is restarted with its socket.
supervisor=$(main_pid)
mkdir -p $units/lsbaws.socket.d
printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:8880\n' >$units/lsbaws.socket.d/case.conf
systemctl daemon-reload
systemctl restart lsbaws.socket
[[ $(get http://127.0.0.1:8880/) == "Hello, World!" ]]
(! get --output /dev/null "$web/")
[[ $(main_pid) != "$supervisor" ]]
[[ $(send_raw 873 '') == added ]]
