#!/bin/bash
# An idle daemon exits, the next connection starts it again, and no connection is lost in between.
. ./lib.sh

configure <<'TOML'
[process]
idle_timeout = "100ms"
TOML
since=$(now)
get "$web/"
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36412
# The pauses are the subject of the test: they end at about the time when the daemon exits.
for ((i = 0; i < 60; i++)); do
    get --output /dev/null "$web/"
    sleep "0.0$((80 + i % 20))"
    sleep 0.0$((i % 4))
done
get "$web/"
[[ $(show lsbaws.socket Result) == success ]]
[[ $(show lsbaws.service NRestarts) == 0 ]]
ends=$(journalctl "$since" --output=cat MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36412 | wc -l)
report "the daemon exited $ends times"
((ends > 5))
