#!/bin/bash
# Many connections at once: each has its record or is counted, and none is both, also where journald takes few
# records of a service in a given time.
. ./lib.sh

mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\nRateLimitBurst=100\n' >/run/systemd/journald.conf.d/case.conf
trap 'rm -r /run/systemd/journald.conf.d; systemctl restart systemd-journald.service; finish' EXIT
systemctl restart systemd-journald.service

for rate in 0 100; do
    configure <<<"log.max_rate = $rate"
    since=$(now)
    for _ in 1 2 3; do
        lsbaws client --max-conns 1000 "$web/flood"
    done
    systemctl stop lsbaws.service # when it has ended, all records are written
    [[ $(count_recorded "$since") == 3000 ]]
    folded=$(count_folded "$since")
    report "log.max_rate = $rate: $folded of 3000 connections were counted only"
    ((rate == 0 || folded > 1000))
    journalctl "$since" --output=json LSBAWS_TARGET=/flood LSBAWS_OUTCOME=served |
        jq --raw-output .LSBAWS_CONNECTION >/tmp/records
    [[ $(wc -l </tmp/records) == $((3000 - folded)) ]]
    [[ $(sort --unique /tmp/records | wc -l) == $((3000 - folded)) ]]
done
