#!/bin/bash
# The supervisor is killed under load: systemd starts another one, and the socket keeps its queue. Connections that had
# a process die with it (KillMode=mixed kills the remaining processes); none is refused.
. ./lib.sh

configure <<'TOML'
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/slow"
delay = "1h"
TOML
socket=$(show lsbaws.socket InvocationID)
get "$web/"
supervisor=$(main_pid)
curl --silent "$web/slow" &
slow_client=$!
await_delayed_child "$supervisor"

results=$(mktemp)
: >"$results.go"
for _ in 1 2 3 4; do
    while [[ -e $results.go ]]; do
        status=0
        curl --silent --output /dev/null --max-time 60 "$web/" || status=$?
        echo "$status" >>"$results"
    done &
done
since=$(now)
get "$web/"
kill -KILL "$supervisor"
# Served by the new supervisor, possibly after a wait in the queue.
get "$web/"
[[ $(main_pid) != "$supervisor" ]]
status=0
wait "$slow_client" || status=$?
[[ $status != 0 ]]
rm "$results.go"
wait

# 52 and 56: the connection had a process, which was killed.
[[ -z $(grep -vx '0\|52\|56' "$results") ]]
grep -qx 0 "$results"
report "results of $(wc -l <"$results") requests by curl's exit status: $(sort "$results" | uniq -c | xargs)"
await_entry "$since" UNIT=lsbaws.service UNIT_RESULT=signal
[[ $(show lsbaws.service NRestarts) == 1 ]]
[[ $(show lsbaws.socket InvocationID) == "$socket" ]]
