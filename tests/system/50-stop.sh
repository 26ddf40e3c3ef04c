#!/bin/bash
# On a stop, requests that have begun may finish, up to a limit.
. ./lib.sh

configure_slow 3s '[process]' 'drain_timeout = "20s"'
since=$(now)
request_slow
systemctl stop lsbaws.service
wait "$client"
[[ $(cat /tmp/slow) == "Hello, World!" ]]
[[ $(show lsbaws.service Result) == success ]]
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36405 # draining
await_entry "$since" LSBAWS_TARGET=/slow LSBAWS_OUTCOME=served
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36406 # stopped

# A connection that takes longer than drain_timeout is terminated, and its record contains the reason.
configure_slow 1h '[process]' 'drain_timeout = "500ms"'
since=$(now)
request_slow
systemctl stop lsbaws.service
expect_no_response
record=$(await_entry "$since" LSBAWS_TARGET=/slow)
jq --exit-status '.LSBAWS_TERMINATED_BY == "drain" and .LSBAWS_SIGNAL == "SIGTERM" and .PRIORITY == "4"' <<<"$record"
[[ $(show lsbaws.service Result) == success ]]
