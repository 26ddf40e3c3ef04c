#!/bin/bash
# systemctl reload: a new configuration without a restart. If the new one is invalid, the reload fails, and the daemon
# keeps the running one.
. ./lib.sh

configure <<'TOML'
[[service.web.route]]
body = "old"
TOML
[[ $(get "$web/") == old ]]
supervisor=$(main_pid)
since=$(now)
sed -i s/old/new/ /etc/lsbaws.d/case.toml
systemctl reload lsbaws.service
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36410
[[ $(get "$web/") == new ]]

since=$(now)
echo 'nonsense = 1' >/etc/lsbaws.d/worse.toml
(! systemctl reload lsbaws.service)
is_error='.PRIORITY == "3" and (.MESSAGE | contains("/etc/lsbaws.d/worse.toml:1: nonsense: unknown key"))'
entry=$(await_entry "$since" --unit=lsbaws.service --identifier=lsbaws _TRANSPORT=stdout)
jq --exit-status "$is_error" <<<"$entry"
report "$(jq --raw-output .MESSAGE <<<"$entry")"
[[ $(get "$web/") == new && $(show lsbaws.service ActiveState) == active ]]
# Not even a signal was sent. After one, the daemon finds the same error.
journalctl --sync
[[ -z $(journalctl "$since" --quiet MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36411) ]]
systemctl kill --kill-who=main --signal=HUP lsbaws.service
entry=$(await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36411)
jq --exit-status "$is_error" <<<"$entry"
[[ $(get "$web/") == new ]]
rm /etc/lsbaws.d/worse.toml
# A valid reload writes nothing but its own entry.
since=$(now)
systemctl reload lsbaws.service
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36410
[[ $(journalctl "$since" --quiet --output=cat --identifier=lsbaws | wc -l) == 1 ]]

start_load
for ((i = 0; i < 100; i++)); do
    sed -i "s/body = .*/body = \"$i\"/" /etc/lsbaws.d/case.toml
    systemctl reload lsbaws.service
done
stop_load
report "under load: $(wc -l <"$load/requests") requests, $(wc -l <"$load/crowds") crowds of 64 connections, 100 reloads"
[[ $(main_pid) == "$supervisor" && $(show lsbaws.service ActiveState) == active ]]
