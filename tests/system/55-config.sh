#!/bin/bash
# An error in the configuration: the service names its place and exits with 78. When it is fixed, the service starts by
# itself, and serves the connection that waited.
. ./lib.sh

get "$web/"
original=$(sha256sum /etc/lsbaws.toml)
since=$(now)
(! configure <<'TOML')
[limits]
max_connexions = 3
TOML
[[ $(show lsbaws.service ExecMainStatus) == 78 ]]
systemctl is-active lsbaws.socket

entry=$(await_entry "$since" --identifier=lsbaws _TRANSPORT=stdout)
message=$(jq --raw-output .MESSAGE <<<"$entry")
report "$message"
[[ $message == "lsbaws: /etc/lsbaws.d/case.toml:2: limits.max_connexions: "* ]]
# `lsbaws check` prints the same, with the same exit code.
status=0
check=$(lsbaws check 2>&1) || status=$?
[[ $status == 78 && $check == "$message" ]]

get "$web/" >/tmp/waiting &
client=$!
# systemd has restarted it, and it has failed again.
await_entry "$(now)" UNIT=lsbaws.service MESSAGE_ID=5eb03494b6584870a536b337290809b3
systemctl is-active lsbaws.socket
rm /etc/lsbaws.d/case.toml
wait "$client"
[[ $(cat /tmp/waiting) == "Hello, World!" ]]
[[ $(systemctl is-active lsbaws.service) == active ]]
[[ $(sha256sum /etc/lsbaws.toml) == "$original" ]]
