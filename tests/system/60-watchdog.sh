#!/bin/bash
# systemd replaces a supervisor that hangs, but not one that waits for slow requests.
. ./lib.sh

set_unit WatchdogSec=3s
configure_slow 7s
supervisor=$(main_pid)
get "$web/slow" # longer than WatchdogSec=
[[ $(main_pid) == "$supervisor" && $(show lsbaws.service NRestarts) == 0 ]]

since=$(now)
kill -STOP "$supervisor"
await_entry "$since" UNIT=lsbaws.service UNIT_RESULT=watchdog
get "$web/"
[[ $(main_pid) != "$supervisor" && $(show lsbaws.service NRestarts) == 1 ]]
