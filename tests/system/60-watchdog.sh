#!/bin/bash
# systemd replaces a supervisor that hangs, but not one that waits for slow requests.
. ./lib.sh

mkdir -p /run/systemd/system/lsbaws.service.d
printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/lsbaws.service.d/case.conf
forget() {
    rm -r /run/systemd/system/lsbaws.service.d
    systemctl daemon-reload
    finish
}
trap forget EXIT
systemctl daemon-reload
configure <<'TOML'
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/slow"
delay = "7s"
TOML

get "$web/"
supervisor=$(main_pid)
get "$web/slow" # longer than WatchdogSec=
[[ $(main_pid) == "$supervisor" && $(show lsbaws.service NRestarts) == 0 ]]

since=$(now)
kill -STOP "$supervisor"
await_entry "$since" UNIT=lsbaws.service UNIT_RESULT=watchdog
get "$web/"
[[ $(main_pid) != "$supervisor" && $(show lsbaws.service NRestarts) == 1 ]]
