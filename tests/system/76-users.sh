#!/bin/bash
# A service with another user: only with users.conf, without any capability in its processes, and the supervisor can still
# terminate them.
. ./lib.sh

mkdir -p /srv/cgi
on_exit 'rm -r /srv/cgi'
cat >/srv/cgi/show <<'SH2'
#!/bin/sh
printf 'Content-Type: text/plain\n\n'
id --user --name
id --groups --name
grep '^Cap[EIPA]\|^NoNewPrivs' /proc/self/status | tr '\t\n' '  '
SH2
cat >/srv/cgi/hang <<'SH2'
#!/bin/sh
trap '' TERM
exec sleep 1000
SH2
chmod 0755 /srv/cgi /srv/cgi/*
mkdir -p /etc/lsbaws.d
cat >/etc/lsbaws.d/case.toml <<'TOML'
[service.web]
user = "www-data"
max_duration = "2s"
[[service.web.route]]
handler = "cgi"
root = "/srv/cgi"
TOML

# Without the drop-in, the daemon does not serve as the wrong user, and names the drop-in.
since=$(now)
(! systemctl restart lsbaws.service)
entry=$(await_entry "$since" --unit=lsbaws.service --identifier=lsbaws _TRANSPORT=stdout)
report "$(jq --raw-output .MESSAGE <<<"$entry")"
jq --exit-status '.MESSAGE | contains("service.web.user") and contains("users.conf")' <<<"$entry"
lsbaws check | grep --quiet 'warning: service.web.user: lsbaws.service cannot switch users: enable users.conf'

mkdir -p $drop_in
ln -s /usr/share/lsbaws/drop-ins/users.conf $drop_in/
systemctl daemon-reload
systemctl restart lsbaws.service
lsbaws check >/tmp/checked
(! grep 'warning: service' /tmp/checked)
none=0000000000000000
[[ $(get "$web/show") == $'www-data\nwww-data\nCapInh: '"$none CapPrm: $none CapEff: $none CapAmb: $none NoNewPrivs: 1 " ]]

# The supervisor keeps its user; no other process of the unit has a capability.
supervisor=$(main_pid)
[[ $(awk '/^Uid/ { print $2 }' "/proc/$supervisor/status") == "$(id --user lsbaws)" ]]
curl --silent --max-time 60 "$web/hang" &
client=$!
since=$(now)
until pgrep --exact --uid www-data sleep; do
    sleep 0.1
done
for pid in $(pgrep --euid www-data,lsbaws); do
    if [[ $pid != "$supervisor" ]]; then
        grep --quiet "^CapEff:.$none" "/proc/$pid/status" || fail "process $pid has capabilities"
        [[ $(awk '/^Uid/ { print $2, $3, $4 }' "/proc/$pid/status" | tr ' ' '\n' | sort -u) == "$(id --user www-data)" ]]
    fi
done
# It terminates a program of the other user that ignores SIGTERM.
await_entry "$since" LSBAWS_TARGET=/hang LSBAWS_TERMINATED_BY=deadline
wait "$client" || true
# SIGKILL comes two seconds after SIGTERM.
timeout 60 sh -c 'while pgrep --exact --uid www-data sleep; do sleep 0.1; done'

# So does a stop.
sed -i 's/^max_duration.*//' /etc/lsbaws.d/case.toml
systemctl restart lsbaws.service
curl --silent --max-time 60 "$web/hang" &
client=$!
until pgrep --exact --uid www-data sleep; do
    sleep 0.1
done
printf '[process]\ndrain_timeout = "1s"\n' >/etc/lsbaws.d/drain.toml
systemctl reload lsbaws.service
systemctl stop lsbaws.service
[[ -z $(pgrep --uid www-data) && $(show lsbaws.service Result) == success ]]
wait "$client" || true
