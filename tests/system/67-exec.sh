#!/bin/bash
# A program as inetd runs them, on a socket unit of its own that leads to lsbaws.service.
. ./lib.sh

units=/etc/systemd/system
trap 'systemctl stop files.socket; rm -f $units/files.socket; rm -rf /srv/files; systemctl daemon-reload; finish' EXIT

mkdir -p /srv/files
echo content >/srv/files/file
cat >/srv/files/rsyncd.conf <<'CONF'
use chroot = no
[files]
path = /srv/files
CONF
cat >$units/files.socket <<'UNIT'
[Socket]
ListenStream=127.0.0.1:8873
FileDescriptorName=files
Service=lsbaws.service
UNIT
systemctl daemon-reload
systemctl stop lsbaws.service # systemd adds no socket to a running service
systemctl start files.socket
configure <<'TOML'
[service.web]

[service.files]
protocol = "exec"
command = ["/usr/bin/rsync", "--daemon", "--config=/srv/files/rsyncd.conf"]
TOML

since=$(now)
copy=$(mktemp -d)
rsync --archive --timeout=60 rsync://127.0.0.1:8873/files/ "$copy/"
cmp /srv/files/file "$copy/file"
record=$(await_entry "$since" LSBAWS_SERVICE=files)
jq --exit-status '
    .LSBAWS_HANDLER == "exec" and .LSBAWS_EXIT_CODE == "0" and .LSBAWS_OUTCOME == "served"
    and .LSBAWS_LISTENER == "files" and (has("LSBAWS_BYTES_OUT") | not)
' <<<"$record"
get "$web/" | grep --quiet Hello # the other service is there as well

# What a program says on standard error is in the journal, under the identifier of the unit and the program's PID.
configure <<'TOML'
[service.web]

[service.files]
protocol = "exec"
command = ["/bin/sh", "-c", "echo a complaint >&2; exit 3"]
TOML
since=$(now)
cat </dev/tcp/127.0.0.1/8873
record=$(await_entry "$since" LSBAWS_SERVICE=files LSBAWS_EXIT_CODE=3)
entry=$(await_entry "$since" --identifier=lsbaws _PID="$(jq --raw-output .LSBAWS_PID <<<"$record")")
jq --exit-status '.MESSAGE == "a complaint" and ._SYSTEMD_UNIT == "lsbaws.service"' <<<"$entry"
