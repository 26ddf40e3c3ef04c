#!/bin/bash
# On a stop, requests that have begun may finish, up to a limit.
. ./lib.sh

configure <<'TOML'
[process]
drain_timeout = "20s"
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/slow"
delay = "3s"
TOML
get "$web/"
since=$(now)
get "$web/slow" >/tmp/slow &
client=$!
await_delayed_child "$(main_pid)"
systemctl stop lsbaws.service
wait "$client"
[[ $(cat /tmp/slow) == "Hello, World!" ]]
[[ $(show lsbaws.service Result) == success ]]
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36405 # draining
await_entry "$since" LSBAWS_TARGET=/slow LSBAWS_OUTCOME=served
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36406 # stopped

# A connection that takes longer than drain_timeout is terminated, and its record contains the reason.
configure <<'TOML'
[process]
drain_timeout = "500ms"
[[service.web.route]]
path = "/endless"
delay = "1h"
TOML
since=$(now)
curl --silent "$web/endless" &
client=$!
await_delayed_child "$(main_pid)"
systemctl stop lsbaws.service
if wait "$client"; then fail "the client received an answer"; fi
record=$(await_entry "$since" LSBAWS_TARGET=/endless)
jq --exit-status '.LSBAWS_ENDED_BY == "drain" and .LSBAWS_SIGNAL == "SIGTERM" and .PRIORITY == "4"' <<<"$record"
[[ $(show lsbaws.service Result) == success ]]
