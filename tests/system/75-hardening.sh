#!/bin/bash
# The units are valid and expose little, and the running processes are confined.
. ./lib.sh

units=(lsbaws.socket lsbaws.service lsbaws@.socket lsbaws@.service lsbaws-inetd.socket lsbaws-inetd@.service)
[[ -z $(systemd-analyze verify "${units[@]/#//usr/lib/systemd/system/}" 2>&1) ]]

for unit in lsbaws.service lsbaws-inetd@example.service; do
    exposure=$(systemd-analyze security --no-pager "$unit" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
    report "exposure of $unit: $exposure"
    systemd-analyze security --no-pager --threshold=5 "$unit" # tenths: fails above 0.5
done

# With each drop-in as well.
for file in /usr/share/lsbaws/drop-ins/*.conf; do
    mkdir -p $drop_in
    ln -s "$file" $drop_in/
    systemctl daemon-reload
    [[ -z $(systemd-analyze verify lsbaws.service 2>&1) ]]
    exposure=$(systemd-analyze security --no-pager lsbaws.service | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
    report "exposure of lsbaws.service with ${file##*/}: $exposure"
    rm "$drop_in/${file##*/}"
done
systemctl daemon-reload

# The filter permits every system call that the daemon needs. In a copy of the unit, a program makes them.
cp system-calls.pl /srv/
sed 's|^ExecStart=.*|ExecStart=/usr/bin/perl /srv/system-calls.pl|; s/^Type=.*/Type=oneshot/
    /^\(ExecReload\|Requires\|After\|Restart\|WatchdogSec\|NotifyAccess\)/d' /usr/lib/systemd/system/lsbaws.service \
    >/run/systemd/system/calls.service
on_exit 'rm /srv/system-calls.pl /run/systemd/system/calls.service; systemctl daemon-reload'
systemctl daemon-reload
since=$(now)
systemctl start calls.service || {
    journalctl "$since" --unit=calls.service
    systemctl reset-failed calls.service
    exit 1
}
report "$(journalctl "$since" --unit=calls.service --output=cat --identifier=lsbaws)"

# Both services have the same sandbox.
hardening() {
    sed '1,/^# The \(rest is the sandbox\|sandbox of\)/d' "/usr/lib/systemd/system/$1" | grep -v '^#\|^$'
}
hardening lsbaws.service >/tmp/hardening
[[ -s /tmp/hardening ]]
hardening lsbaws-inetd@.service | diff /tmp/hardening -

# The state of the supervisor, a fork server and a child in the kernel.
configure_slow 1h
request_slow
supervisor=$(main_pid)
fork_server=$(pgrep --parent "$supervisor" --full fork-server --oldest)
[[ $fork_server != "$child" ]]
for pid in "$supervisor" "$fork_server" "$child"; do
    for line in CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2; do
        tr -d '\t' <"/proc/$pid/status" | grep --quiet --line-regexp "$line"
    done
    # Another network namespace, and a read-only file system.
    [[ $(readlink "/proc/$pid/ns/net") != "$(readlink /proc/self/ns/net)" ]]
    awk '$5 == "/" && $6 ~ /(^|,)ro(,|$)/ { found = 1 } END { exit !found }' "/proc/$pid/mountinfo"
done
# Its text is in huge pages, which MemoryDenyWriteExecute= permits. (Linux 6.10 loads it where that is possible.)
grep --quiet "r-xs .*lsbaws-text" "/proc/$fork_server/maps" || ! printf '6.10\n%s\n' "$(uname -r)" | sort --version-sort --check=quiet
# Nothing of the confinement is missing here.
journalctl --sync
[[ -z $(journalctl _PID="$supervisor" --quiet --grep="this kernel|the kernel has") ]]
# The child holds only its connection, the socket of the journal and the three standard descriptors.
[[ $(find "/proc/$child/fd" -type l | wc -l) == 5 ]]
kill -KILL "$child"
