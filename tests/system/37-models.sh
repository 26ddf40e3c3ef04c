#!/bin/bash
# The other process models work in the sandbox of the unit, and leave no zombie.
. ./lib.sh

for model in double-fork iterative; do
    configure <<TOML
[process]
model = "$model"
TOML
    since=$(now)
    lsbaws client --max-conns 50 "$web/"
    get "$web/last"
    supervisor=$(main_pid)
    record=$(await_entry "$since" --identifier=lsbaws LSBAWS_TARGET=/last)
    jq --exit-status --arg supervisor "$supervisor" --arg model "$model" '
        .LSBAWS_OUTCOME == "served" and .LSBAWS_END == "exited" and ._PID == $supervisor
        and (.LSBAWS_PID == $supervisor) == ($model == "iterative")
    ' <<<"$record"
    # Only its fork server remains.
    [[ $(pgrep --parent "$supervisor") == "$(pgrep --parent "$supervisor" --full fork-server)" ]]
    journalctl --sync
    [[ $(journalctl "$since" --output=json LSBAWS_OUTCOME=served | wc -l) == 51 ]]
done

# A killed child of a double fork has its record like any child.
configure_slow 1h '[process]' 'model = "double-fork"'
since=$(now)
request_slow
kill -KILL "$child"
expect_no_response
record=$(await_entry "$since" LSBAWS_TARGET=/slow)
jq --exit-status --arg child "$child" '
    .LSBAWS_SIGNAL == "SIGKILL" and .LSBAWS_PID == $child and .LSBAWS_PHASE == "handling"
' <<<"$record"
