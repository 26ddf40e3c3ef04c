#!/bin/bash
# A socket that no service is for does not stop the others. The entry names its unit. What waits in its queue is served
# after a reload that brings the service, and does not make systemd start the daemon again and again.
. ./lib.sh

units=/etc/systemd/system
remove_units() {
    systemctl disable --now own-rsync.socket
    rm -rf $units/own-rsync.socket $units/lsbaws.service.d
    systemctl daemon-reload
    systemctl restart lsbaws.socket
}
on_exit remove_units

since=$(now)
cat >$units/own-rsync.socket <<'UNIT'
[Socket]
ListenStream=127.0.0.1:873
FileDescriptorName=rsync
Service=lsbaws.service
TriggerLimitIntervalSec=0

[Install]
WantedBy=sockets.target
UNIT
mkdir -p $units/lsbaws.service.d
printf '[Service]\nSockets=own-rsync.socket\n' >$units/lsbaws.service.d/case.conf
systemctl daemon-reload
systemctl enable own-rsync.socket
configure <<'TOML'
[process]
idle_timeout = "1s"
TOML
systemctl restart lsbaws.service
[[ $(get "$web/") == "Hello, World!" ]]

entry=$(await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36418)
report "$entry"
jq --exit-status '
    .PRIORITY == "3" and .LSBAWS_LISTENER == "rsync"
    and (.MESSAGE | contains("(127.0.0.1:873) is not served: no [service.rsync]"))
    and (.MESSAGE | contains("its unit own-rsync.socket has FileDescriptorName=rsync"))
' <<<"$entry"
journalctl -x "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36418 >/tmp/explained
grep --quiet 'Add this service, or correct FileDescriptorName=' /tmp/explained

# A client waits. The daemon does not exit meanwhile: the sleep is longer than idle_timeout.
exec {client}<>/dev/tcp/127.0.0.1/873
get "$web/"
supervisor=$(main_pid)
sleep 3
[[ $(main_pid) == "$supervisor" ]]
[[ $(get "$web/") == "Hello, World!" ]]

# The other service never takes the web port, and what waited is served.
cat >/etc/lsbaws.d/rsync.toml <<'TOML'
[service.rsync]
protocol = "exec"
command = ["/bin/echo", "this is rsync"]
[service.web]
TOML
systemctl reload lsbaws.service
[[ $(timeout 20 cat <&"$client") == "this is rsync" ]]
[[ $(get "$web/") == "Hello, World!" ]]
