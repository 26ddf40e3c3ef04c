#!/bin/bash
# A program of inetd, with its own socket unit for lsbaws.service.
. ./lib.sh

units=/etc/systemd/system
on_exit "systemctl stop files.socket; rm -rf $units/files.socket /srv/files /srv/git; systemctl daemon-reload"

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
systemctl stop lsbaws.service # not under load: see 59-add-socket.sh
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
get "$web/" | grep --quiet Hello # the other service works as well

# git's own protocol, as in lsbaws(8). It serves repositories of its user, and logs why it refuses others.
git init --quiet --bare /srv/git/own.git
cp --recursive /srv/git/own.git /srv/git/roots.git
chown --recursive lsbaws:lsbaws /srv/git/own.git
zcat /usr/share/man/man8/lsbaws.8.gz | sed -n '/^\[service\.git\]/,/^\.Ed/ { s/service\.git/service.files/; /^\.Ed/!p }' >/srv/files/git.toml
{ echo '[service.web]' && sed '/environment\]/,$d' /srv/files/git.toml; } | configure
git clone --quiet git://127.0.0.1:8873/own.git "$copy/own"
since=$(now)
(! git clone --quiet git://127.0.0.1:8873/roots.git "$copy/roots")
await_entry "$since" --identifier=lsbaws-files --grep="dubious ownership"
{ echo '[service.web]' && cat /srv/files/git.toml; } | configure
git clone --quiet git://127.0.0.1:8873/roots.git "$copy/roots"

# The standard error of a program is in the journal, with an identifier of its own and the PID of the program.
configure <<'TOML'
[service.web]

[service.files]
protocol = "exec"
command = ["/bin/sh", "-c", "echo a complaint >&2; exit 3"]
TOML
since=$(now)
cat </dev/tcp/127.0.0.1/8873
record=$(await_entry "$since" LSBAWS_SERVICE=files LSBAWS_EXIT_CODE=3)
entry=$(await_entry "$since" --identifier=lsbaws-files _PID="$(jq --raw-output .LSBAWS_PID <<<"$record")")
# Not its unit, which journald finds only while the program runs.
jq --exit-status '.MESSAGE == "a complaint"' <<<"$entry"

# A program that runs longer than drain_timeout is terminated, with the processes that it has started.
configure <<'TOML'
[process]
drain_timeout = "1s"

[service.web]

[service.files]
protocol = "exec"
command = ["/bin/sh", "-c", "sleep 1000 & echo begun; wait"]
TOML
since=$(now)
exec {program}<>/dev/tcp/127.0.0.1/8873
read -r -u "$program" line
[[ $line == begun ]]
systemctl restart lsbaws.service
[[ -z $(cat <&"$program") ]]
record=$(await_entry "$since" LSBAWS_SERVICE=files LSBAWS_SIGNAL=SIGTERM)
jq --exit-status '.LSBAWS_TERMINATED_BY == "drain" and .LSBAWS_HANDLER == "exec"' <<<"$record"
[[ -z $(pgrep --full "sleep 1000") ]]
