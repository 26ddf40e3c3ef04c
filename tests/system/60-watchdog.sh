#!/bin/bash
# A parent that hangs is replaced; one that merely waits for slow requests is not.
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
parent=$(main_pid)
get "$web/slow" # longer than the watchdog waits
[[ $(main_pid) == "$parent" && $(show lsbaws.service NRestarts) == 0 ]]

since=$(now)
kill -STOP "$parent"
await_entry "$since" UNIT=lsbaws.service UNIT_RESULT=watchdog
get "$web/"
[[ $(main_pid) != "$parent" && $(show lsbaws.service NRestarts) == 1 ]]
