#!/bin/bash
# The supervisor is killed under load: systemd starts another one, and the socket keeps its queue. Connections that had
# a process die with it (KillMode=mixed kills the remaining processes); none is refused.
. ./lib.sh

configure_slow 1h
socket=$(show lsbaws.socket InvocationID)
supervisor=$(main_pid)
request_slow

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
if wait "$client"; then fail "the client received a response"; fi
rm "$results.go"
wait

# 52 and 56: the connection had a process, which was killed.
[[ -z $(grep -vx '0\|52\|56' "$results") ]]
grep -qx 0 "$results"
report "results of $(wc -l <"$results") requests by curl's exit status: $(sort "$results" | uniq -c | xargs)"
await_entry "$since" UNIT=lsbaws.service UNIT_RESULT=signal
[[ $(show lsbaws.service NRestarts) == 1 ]]
[[ $(show lsbaws.socket InvocationID) == "$socket" ]]
