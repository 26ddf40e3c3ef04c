#!/bin/bash
# Secrets of programs: a credential of the unit, and a file. Neither is in the configuration, in the environment of the
# daemon, or readable for others.
. ./lib.sh

mkdir -p /srv/cgi /etc/lsbaws-secrets
on_exit 'rm -r /srv/cgi /etc/lsbaws-secrets'
cat >/srv/cgi/show <<'SH2'
#!/bin/sh
printf 'Content-Type: text/plain\n\n<%s><%s>' "$DB" "$API"
env | grep CREDENTIALS
SH2
chmod +x /srv/cgi/show
echo from-credential >/etc/lsbaws-secrets/db
echo from-file >/etc/lsbaws-secrets/api
chmod 0600 /etc/lsbaws-secrets/db
chgrp lsbaws /etc/lsbaws-secrets/api
chmod 0640 /etc/lsbaws-secrets/api
mkdir -p /etc/lsbaws.d
cat >/etc/lsbaws.d/case.toml <<'TOML'
[[service.web.route]]
handler = "cgi"
root = "/srv/cgi"
environment = { DB = { credential = "db" }, API = { file = "/etc/lsbaws-secrets/api" } }
TOML

# Without LoadCredential= the daemon does not start. check warns, since it has no credentials.
since=$(now)
(! systemctl restart lsbaws.service)
entry=$(await_entry "$since" --unit=lsbaws.service --identifier=lsbaws _TRANSPORT=stdout)
report "$(jq --raw-output .MESSAGE <<<"$entry")"
jq --exit-status '.MESSAGE | contains("case.toml:4: service.web.route[0].environment.DB: no credential \"db\": ")' <<<"$entry"
lsbaws check >/tmp/shown
grep --quiet 'environment.DB: lsbaws.service has no credential "db": set LoadCredential=db:PATH in a drop-in' /tmp/shown

set_unit LoadCredential=db:/etc/lsbaws-secrets/db
systemctl restart lsbaws.service
[[ $(get "$web/show") == "<from-credential><from-file>" ]]
runuser -u lsbaws -- lsbaws check --show >/tmp/shown
grep --quiet '^credential = "db" .*# /etc/lsbaws.d/case.toml:4' /tmp/shown
(! grep 'from-\|warning' /tmp/shown)
(! tr '\0' '\n' <"/proc/$(main_pid)/environ" | grep from-)

# A reload reads the file again. (systemd hides the credentials from the command that checks first.)
echo changed >/etc/lsbaws-secrets/api
since=$(now)
systemctl reload lsbaws.service
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36410
[[ $(get "$web/show") == "<from-credential><changed>" ]]
chmod 0600 /etc/lsbaws-secrets/api
since=$(now)
(! systemctl reload lsbaws.service)
entry=$(await_entry "$since" --unit=lsbaws.service --identifier=lsbaws _TRANSPORT=stdout)
report "$(jq --raw-output .MESSAGE <<<"$entry")"
jq --exit-status '.MESSAGE | contains("environment.API: unable to read /etc/lsbaws-secrets/api: Permission denied")' <<<"$entry"
[[ $(get "$web/show") == "<from-credential><changed>" ]]
