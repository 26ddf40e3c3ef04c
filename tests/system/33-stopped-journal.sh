#!/bin/bash
# journald is stopped, and restarted under load: no connection waits for it. In the end, records and counts add up to the
# connections.
. ./lib.sh

systemctl restart lsbaws.service
journald=$(show systemd-journald.service MainPID)
since=$(now)
on_exit "kill -CONT $journald || true"
kill -STOP "$journald"
for _ in 1 2 3; do
    lsbaws client --max-conns 1000 "$web/stopped"
done
kill -CONT "$journald"
systemctl stop lsbaws.service # everything is written before it exits
[[ $(count_recorded "$since") == 3000 ]]
report "stopped: $(count_suppressed "$since") of 3000 records were suppressed"
[[ $(count_suppressed "$since") -gt 0 ]]
[[ $(journalctl "$since" --catalog LSBAWS_END=suppressed) != *"@LSBAWS_"* ]]

get "$web/"
systemctl restart lsbaws.service
since=$(now)
start_load
for ((i = 0; i < 10; i++)); do
    journald=$(show systemd-journald.service MainPID)
    systemctl reset-failed systemd-journald.service # no limit on restarts
    systemctl restart systemd-journald.service
    [[ $(show systemd-journald.service MainPID) != "$journald" ]]
done
stop_load
systemctl stop lsbaws.service
connections=$(($(wc -l <"$load/requests") + 64 * $(wc -l <"$load/crowds")))
[[ $(count_recorded "$since") == "$connections" ]]
report "restarted: $(count_suppressed "$since") of $connections records were suppressed"
