#!/bin/bash
# Limits of a service work in the sandbox, and the record names the limit that a program reached. A nice value needs a
# drop-in.
. ./lib.sh

mkdir /srv/cgi
on_exit 'rm -r /srv/cgi'
cat >/srv/cgi/show <<'SH'
#!/bin/sh
echo Content-Type: text/plain
echo
ulimit -n
umask
nice
SH
cat >/srv/cgi/burn <<'SH'
#!/bin/sh
while :; do :; done
SH
chmod +x /srv/cgi/*
configure <<'TOML'
[service.web]
open_files = 64
umask = "027"
cpu_time = "1s"
[[service.web.route]]
handler = "cgi"
root = "/srv/cgi"
TOML
[[ $(get "$web/show") == $'64\n0027\n0' ]]
since=$(now)
[[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$web/burn") == 502 ]]
record=$(await_entry "$since" LSBAWS_TARGET=/burn LSBAWS_LIMIT=cpu_time)
jq --exit-status '.LSBAWS_PROGRAM_END == "killed by SIGXCPU"' <<<"$record"

# Without the drop-in of the manual, the nice value cannot be set, and the journal contains the error.
sed -i 's/^umask.*/nice = 7/' /etc/lsbaws.d/case.toml
since=$(now)
systemctl reload lsbaws.service
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36410
if get "$web/show"; then fail "the nice value was set despite the filter"; fi
await_entry "$since" LSBAWS_LIMIT=nice

set_unit SystemCallFilter=setpriority
systemctl restart lsbaws.service
[[ $(get "$web/show") == $'64\n0077\n7' ]]
