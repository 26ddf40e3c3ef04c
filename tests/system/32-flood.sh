#!/bin/bash
# Many connections at once: each has its record, and none has two, also where journald takes few records
# of a service in a given time. And journald may be restarted under a running daemon.
. ./lib.sh

systemctl restart lsbaws.service
mkdir -p /run/systemd/journald.conf.d
printf '[Journal]\nRateLimitBurst=100\n' >/run/systemd/journald.conf.d/case.conf
trap 'rm -r /run/systemd/journald.conf.d; systemctl restart systemd-journald.service; finish' EXIT
systemctl restart systemd-journald.service

since=$(now)
for _ in 1 2 3; do
    lsbaws client --max-conns 1000 "$web/flood"
done
systemctl stop lsbaws.service # when it has ended, all records are written
journalctl --sync
journalctl "$since" --output=json LSBAWS_TARGET=/flood LSBAWS_OUTCOME=served | jq --raw-output .LSBAWS_CONNECTION >/tmp/records
[[ $(wc -l </tmp/records) == 3000 ]]
[[ $(sort --unique /tmp/records | wc -l) == 3000 ]]
