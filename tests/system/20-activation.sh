#!/bin/bash
# The first connection starts the service; IPv4 and IPv6 are answered alike.
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

# It is the user of its own, and knows its listener by the name that the socket unit gives.
[[ $(ps -o user= -p "$(main_pid)") == lsbaws ]]
await_entry --identifier=lsbaws LSBAWS_LISTENER=web LSBAWS_TARGET=/any/path LSBAWS_SERVICE=web
