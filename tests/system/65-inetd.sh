#!/bin/bash
# lsbaws-inetd.socket: systemd accepts, and each connection is a unit of its own.
. ./lib.sh

since=$(now)
systemctl start lsbaws-inetd.socket
on_exit 'systemctl stop lsbaws-inetd.socket'
for address in 127.0.0.1 '[::1]'; do
    [[ $(get --globoff "http://$address:8889/" && echo end) == $'Hello, World!\nend' ]]
done

# The process that serves the connection writes the record itself: it has no supervisor.
record=$(await_entry "$since" --identifier=lsbaws LSBAWS_LISTENER=connection)
report "$record"
jq --exit-status '
    .LSBAWS_OUTCOME == "served" and .LSBAWS_EXIT_CODE == "0" and .LSBAWS_STATUS == "200"
    and .LSBAWS_PID == ._PID and .PRIORITY == "6"
' <<<"$record"

# A client error is exit code 1, and no failure of a unit.
[[ $(send_raw 8889 'nonsense\r\n\r\n') == "HTTP/1.1 400 "* ]]
await_entry "$since" LSBAWS_LISTENER=connection LSBAWS_OUTCOME=client-error LSBAWS_EXIT_CODE=1

# 32 connections at once are served. 100 exceed MaxConnectionsPerSource=, which does not harm the socket.
lsbaws client --max-conns 32 http://127.0.0.1:8889/
(! lsbaws client --max-conns 100 http://127.0.0.1:8889/)
systemctl is-active lsbaws-inetd.socket
get http://127.0.0.1:8889/
systemctl stop lsbaws-inetd.socket
# No unit has failed: systemd lists none, and has logged none.
[[ -z $(systemctl --failed --quiet) ]]
journalctl --sync
[[ -z $(journalctl "$since" --quiet MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c) ]]
