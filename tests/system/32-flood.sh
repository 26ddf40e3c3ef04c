#!/bin/bash
# Many connections at once: without a limit, each has a record. With a limit, each has a record or is counted, and none
# is both, even if journald accepts few records of a service in a given time.
. ./lib.sh

mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\nRateLimitBurst=100\n' >/run/systemd/journald.conf.d/case.conf
on_exit 'rm -r /run/systemd/journald.conf.d; systemctl restart systemd-journald.service'
systemctl restart systemd-journald.service

for rate in 0 100; do
    configure <<<"log.max_rate = $rate"
    since=$(now)
    lsbaws client --max-clients 3 --max-conns 1000 "$web/flood"
    systemctl stop lsbaws.service # all records are written before it exits
    [[ $(count_recorded "$since") == 3000 ]]
    suppressed=$(count_suppressed "$since")
    report "log.max_rate = $rate: $suppressed of 3000 records were suppressed"
    if ((rate == 0)); then
        ((suppressed == 0))
    else
        ((suppressed > 1000))
    fi
    journalctl "$since" --output=json LSBAWS_TARGET=/flood LSBAWS_OUTCOME=served |
        jq --raw-output .LSBAWS_CONNECTION >/tmp/records
    [[ $(wc -l </tmp/records) == $((3000 - suppressed)) ]]
    [[ $(sort --unique /tmp/records | wc -l) == $((3000 - suppressed)) ]]
done
