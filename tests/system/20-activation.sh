#!/bin/bash
# The first connection starts the service. IPv4 and IPv6 receive the same answer.
. ./lib.sh

[[ $(systemctl is-active lsbaws.service) == inactive ]]
[[ $(get "$web/" && echo end) == $'Hello, World!\nend' ]]
[[ $(get --globoff "http://[::1]:8888/any/path" && echo end) == $'Hello, World!\nend' ]]

[[ $(systemctl is-active lsbaws.service) == active ]]
[[ $(show lsbaws.socket SubState) == running ]]
[[ $(show lsbaws.service Type) == notify ]]
status=$(show lsbaws.service StatusText)
[[ -n $status ]]
report "status: $status"

# It runs as its own user, and its listener has the name from the socket unit.
[[ $(ps -o user= -p "$(main_pid)") == lsbaws ]]
await_entry --identifier=lsbaws LSBAWS_LISTENER=web LSBAWS_TARGET=/any/path LSBAWS_SERVICE=web
