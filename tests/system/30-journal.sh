#!/bin/bash
# Each connection has exactly one record with all its fields. `journalctl -x` explains no record at info.
. ./lib.sh

since=$(now)
get "$web/hello?name=value"
record=$(await_entry "$since" --identifier=lsbaws LSBAWS_TARGET='/hello?name=value')
report "$record"
jq --exit-status '
    .MESSAGE_ID == "86f3a1d04c7b4e0f9a52c8e1b7d36401" and .PRIORITY == "6"
    and .SYSLOG_IDENTIFIER == "lsbaws" and ._SYSTEMD_UNIT == "lsbaws.service" and ._TRANSPORT == "journal"
    and .LSBAWS_LISTENER == "web" and .LSBAWS_SERVICE == "web" and .LSBAWS_HANDLER == "respond"
    and .LSBAWS_END == "exited" and .LSBAWS_EXIT_CODE == "0" and .LSBAWS_OUTCOME == "served"
    and .LSBAWS_METHOD == "GET" and .LSBAWS_STATUS == "200" and .LSBAWS_REQUESTS == "1"
    and (.LSBAWS_PEER | startswith("127.0.0.1:")) and .LSBAWS_CONNECTION != "" and .LSBAWS_PHASE != ""
    and .LSBAWS_PID != ._PID
    and ([.LSBAWS_PID, .LSBAWS_DURATION_USEC, .LSBAWS_MAXRSS_KIB, .LSBAWS_MINOR_FAULTS, .LSBAWS_BYTES_IN,
        .LSBAWS_BYTES_OUT] | map(tonumber) | min > 0)
    and ([.LSBAWS_USER_USEC, .LSBAWS_SYSTEM_USEC] | map(tonumber) | min >= 0)
    and (has("LSBAWS_SIGNAL") or has("LSBAWS_TERMINATED_BY") or has("LSBAWS_ERROR") | not)
' <<<"$record"

# A malformed request has a record as well, at info.
answer=$(send_raw 8888 'nonsense\r\n\r\n')
[[ $answer == "HTTP/1.1 400 "* ]]
record=$(await_entry "$since" LSBAWS_OUTCOME=client-error)
jq --exit-status '
    .PRIORITY == "6" and .LSBAWS_END == "exited" and .LSBAWS_EXIT_CODE == "1" and .LSBAWS_STATUS == "400"
    and .LSBAWS_TARGET == "nonsense" and (has("LSBAWS_METHOD") | not)
' <<<"$record"

# Two connections, two records. All are written before the daemon exits.
systemctl stop lsbaws.service
journalctl --sync
[[ $(journalctl "$since" --output=json MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36401 | wc -l) == 2 ]]
[[ $(journalctl "$since" --output=json --identifier=lsbaws LSBAWS_OUTCOME=served | wc -l) == 1 ]]

# None of these needs an administrator, so there is no explanation.
[[ $(journalctl "$since" --catalog --identifier=lsbaws) != *"Defined-By: lsbaws"* ]]
