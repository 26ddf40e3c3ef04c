#!/bin/bash
# Instances of the daemon, beside lsbaws.service: each has its configuration, its sockets, its runtime directory and the same
# sandbox. One is reloaded and stopped without the others.
. ./lib.sh

units=/etc/systemd/system
remove_instances() {
    systemctl disable --now lsbaws@one.socket lsbaws@two.socket
    systemctl stop lsbaws@one.service lsbaws@two.service
    rm -rf /etc/lsbaws/one.toml /etc/lsbaws/one.d /etc/lsbaws/two.toml $units/lsbaws@two.socket.d
    systemctl daemon-reload
}
on_exit remove_instances

# Only root and the daemon may read the configurations.
[[ $(stat --format '%a %U:%G' /etc/lsbaws) == "750 root:lsbaws" ]]
mkdir /etc/lsbaws/one.d
echo 'service.web.route = [{ body = "one" }]' >/etc/lsbaws/one.toml
echo 'service.web.route = [{ path = "/more", body = "more" }]' >/etc/lsbaws/one.d/more.toml
echo 'service.web.route = [{ body = "two" }]' >/etc/lsbaws/two.toml

# One at the socket of the package, the other at the address of a drop-in.
mkdir -p $units/lsbaws@two.socket.d
printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:8881\n' >$units/lsbaws@two.socket.d/case.conf
systemctl daemon-reload
since=$(now)
systemctl enable --now lsbaws@one.socket lsbaws@two.socket
get_one() { # PATH
    get --unix-socket /run/lsbaws-one.sock "http://localhost$1"
}
[[ $(systemctl is-active lsbaws@one.service) == inactive ]]
[[ $(get_one /) == one && $(get_one /more) == more ]]
[[ $(get http://127.0.0.1:8881/) == two ]]
[[ $(get "$web/") == "Hello, World!" ]]
pids=$(for name in lsbaws lsbaws@one lsbaws@two; do show $name.service MainPID; done)
[[ $(sort -u <<<"$pids" | wc -l) == 3 ]]
[[ $(stat --format '%U' /run/lsbaws-one /run/lsbaws-two) == $'lsbaws\nlsbaws' ]]

# Records belong to their unit, and all have the identifier of lsbaws.
for name in one two; do
    entry=$(await_entry "$since" --unit="lsbaws@$name.service" --identifier=lsbaws LSBAWS_OUTCOME=served)
    jq --exit-status '.LSBAWS_TARGET == "/"' <<<"$entry"
done

# The same sandbox.
for unit in lsbaws.service lsbaws@one.service; do
    systemctl show "$unit" |
        grep -E '^(Protect|Private|Restrict|SystemCall|Capability|Ambient|NoNew|Memory(Deny|Max)|Lock|Device|UMask|IPAddress|User|Group|Tasks|Watchdog|OOM|Kill)' |
        grep -vE 'Timestamp|Current|Peak|Available' | sort >"/tmp/$unit"
done
diff /tmp/lsbaws.service /tmp/lsbaws@one.service
[[ $(wc -l </tmp/lsbaws.service) -gt 20 ]]

# A reload reads the configuration of the instance, and fails if that is invalid.
echo 'service.web.route = [{ body = "new" }]' >/etc/lsbaws/one.toml
systemctl reload lsbaws@one.service
await_entry "$since" --unit=lsbaws@one.service --grep 'configuration reloaded'
[[ $(get_one /) == new ]]
echo 'nonsense = 1' >/etc/lsbaws/two.toml
(! systemctl reload lsbaws@two.service)
[[ $(get http://127.0.0.1:8881/) == two ]]

systemctl stop lsbaws@two.socket lsbaws@two.service
[[ $(get_one /) == new && $(get "$web/") == "Hello, World!" ]]
