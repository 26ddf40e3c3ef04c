#!/bin/bash
# A child is killed: its record has signal, request and phase, and no other connection is affected.
. ./lib.sh

configure_slow 1h '[[service.web.route]]' 'path = "/neighbour"' 'delay = "2s"'
since=$(now)
request_slow
get "$web/neighbour" >/tmp/neighbour &
neighbour_client=$!
await_delayed_child "$(main_pid)" "$child"

kill -KILL "$child"
expect_no_response
record=$(await_entry "$since" --identifier=lsbaws LSBAWS_OUTCOME=killed)
report "$record"
jq --exit-status --arg child "$child" '
    .MESSAGE_ID == "86f3a1d04c7b4e0f9a52c8e1b7d36402" and .PRIORITY == "3" and .LSBAWS_PID == $child
    and .LSBAWS_END == "killed" and .LSBAWS_SIGNAL == "SIGKILL" and .LSBAWS_METHOD == "GET"
    and .LSBAWS_TARGET == "/slow" and .LSBAWS_PHASE == "handling"
    and (has("LSBAWS_EXIT_CODE") or has("LSBAWS_TERMINATED_BY") or has("LSBAWS_STATUS") | not)
' <<<"$record"
# The explanation contains the values of the fields, not their names.
explained=$(journalctl "$since" --catalog LSBAWS_OUTCOME=killed)
[[ $explained == *"was killed by SIGKILL"* && $explained != *"@LSBAWS_"* ]]

wait "$neighbour_client"
[[ $(cat /tmp/neighbour) == "Hello, World!" ]]
get "$web/"
[[ $(show lsbaws.service NRestarts) == 0 ]]
