#!/bin/bash
# A stop waits for a moving transfer, longer than TimeoutStopSec=, and the status line names it.
. ./lib.sh

set_unit TimeoutStopSec=3s
mkdir /srv/large
on_exit 'rm -r /srv/large'
truncate --size=40M /srv/large/file
configure <<'TOML'
[process]
drain_timeout = "1s"
drain_timeout_max = "1m"
[[service.web.route]]
handler = "files"
root = "/srv/large"
TOML

since=$(now)
mkfifo /srv/large/begun
curl --silent --limit-rate 4M "$web/file" | tee >(head -c 1 >/srv/large/begun; cat >/dev/null) | wc -c >/tmp/length &
client=$!
read -r -N 1 -t 60 </srv/large/begun || true
systemctl kill --signal=USR1 --kill-who=main lsbaws.service
state=$(await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36413 LSBAWS_TARGET=/file)
jq --exit-status '.LSBAWS_PHASE == "writing"' <<<"$state"

systemctl stop lsbaws.service
wait "$client"
[[ $(cat /tmp/length) == $((40 << 20)) ]]
[[ $(show lsbaws.service Result) == success ]]
record=$(await_entry "$since" LSBAWS_TARGET=/file LSBAWS_OUTCOME=served)
report "served after $(jq --raw-output .LSBAWS_DURATION_USEC <<<"$record") usec, TimeoutStopSec=3s"
jq --exit-status '(.LSBAWS_DURATION_USEC | tonumber) > 4000000' <<<"$record"
