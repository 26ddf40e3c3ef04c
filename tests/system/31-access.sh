#!/bin/bash
# Access lines of lsbaws.service and of an instance: in the journal, and in files that the logrotate(8) of the package rotates.
# The fail2ban filter of the package reads both, and bans.
. ./lib.sh

access=MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36422
clean_up() {
    fail2ban-client stop || true
    # What the other programs keep, so that 90-remove.sh finds the files of before.
    rm -f /etc/fail2ban/jail.d/lsbaws.conf /var/lib/fail2ban/fail2ban.sqlite3 /var/lib/logrotate/status
    systemctl disable --now lsbaws@one.socket
    systemctl stop lsbaws@one.service
    rm -rf /etc/lsbaws/one.toml /var/log/lsbaws /var/log/lsbaws-one
}
on_exit clean_up

# In the journal: the supervisor writes them, and journald adds the fields by which a filter trusts them.
since=$(now)
configure <<'TOML'
log.access.target = "journal"
[service.web]
trusted_proxies = ["::1"]
[[service.web.route]]
path = "/hello"
[[service.web.route]]
path = "/denied"
deny = ["0.0.0.0/0", "::/0"]
TOML
curl --silent --output /dev/null --user-agent 'case/1' --referer 'http://a/' "$web/hello" "$web/hello?x=1"
line=$(await_entry "$since" $access 'LSBAWS_TARGET=/hello?x=1')
report "$line"
jq --exit-status --arg pid "$(main_pid)" --arg uid "$(id --user lsbaws)" '
    ._PID == $pid and ._UID == $uid and ._EXE == "/usr/bin/lsbaws" and ._SYSTEMD_UNIT == "lsbaws.service"
    and .SYSLOG_IDENTIFIER == "lsbaws" and .PRIORITY == "6" and .LSBAWS_SERVICE == "web"
    and .LSBAWS_METHOD == "GET" and .LSBAWS_STATUS == "200" and .LSBAWS_PROTOCOL == "HTTP/1.1"
    and .LSBAWS_REFERER == "http://a/" and .LSBAWS_USER_AGENT == "case/1" and .LSBAWS_CONTENT_BYTES == "14"
    and (.MESSAGE | test("^127\\.0\\.0\\.1 - - \\[.*\\] \"GET /hello\\?x=1 HTTP/1\\.1\" 200 14 \"http://a/\" \"case/1\"$"))
' <<<"$line"
# Both requests have lines, and the connection has one record, with the same number.
connection=$(jq --raw-output .LSBAWS_CONNECTION <<<"$line")
await_entry "$since" LSBAWS_OUTCOME=served "LSBAWS_CONNECTION=$connection"
journalctl --sync
[[ $(journalctl "$since" --output=json $access "LSBAWS_CONNECTION=$connection" | wc -l) == 2 ]]

# The query of lsbaws(8).
curl --silent --output /dev/null "$web/missing"
await_entry "$since" $access LSBAWS_TARGET=/missing
journalctl --sync
[[ $(journalctl "$since" $access LSBAWS_STATUS=404 -o cat) == '127.0.0.1 - - ['*'] "GET /missing HTTP/1.1" 404 '* ]]

# The client is that of a trusted proxy.
curl --silent --output /dev/null --header 'X-Forwarded-For: 192.0.2.7' 'http://[::1]:8888/hello?proxied'
line=$(await_entry "$since" $access 'LSBAWS_TARGET=/hello?proxied')
jq --exit-status '.LSBAWS_CLIENT == "192.0.2.7" and (.LSBAWS_PEER | startswith("[::1]:"))' <<<"$line"

# fail2ban bans by entries of the journal, in the kernel: a scanner, but no address that an entry of another process names, and no
# client without errors. The scanner comes last.
cat >/etc/fail2ban/jail.d/lsbaws.conf <<'CONF'
[DEFAULT]
banaction = nftables-multiport
[sshd]
enabled = false
[lsbaws]
enabled = true
backend = systemd
port = 8888
maxretry = 3
CONF
fail2ban-client start
for target in /missing /denied /a/../b /missing; do
    line='192.0.2.10 - - [26/Nov/2026:17:51:40 +0000] "GET / HTTP/1.1" 403 14 "-" "-"'
    printf '%s\n' "MESSAGE=$line" "$access" SYSLOG_IDENTIFIER=lsbaws | logger --journald
    curl --silent --output /dev/null --header 'X-Forwarded-For: 192.0.2.9' "http://[::1]:8888/hello"
    curl --silent --output /dev/null --path-as-is --header 'X-Forwarded-For: 192.0.2.8' "http://[::1]:8888$target"
done
await_ban() { # ADDRESS
    local end=$((SECONDS + 60))
    # fail2ban lists an address before it changes the rules of the kernel.
    until nft list ruleset | grep --word-regexp --fixed-strings "$1"; do
        ((SECONDS < end)) || fail "not banned: $1: $(fail2ban-client status lsbaws; tail /var/log/fail2ban.log)"
    done
}
await_ban 192.0.2.8
[[ $(fail2ban-client get lsbaws banip | xargs) == 192.0.2.8 ]]
fail2ban-client stop

# In files, of both services. The rotation of the package opens them again; no line is lost.
echo 'log.access.target = "/var/log/lsbaws/access.log"' | configure
cat >/etc/lsbaws/one.toml <<'TOML'
log.access.target = "/var/log/lsbaws-one/access.log"
service.web.route = [{ body = "one" }]
TOML
systemctl enable --now lsbaws@one.socket
get_both() { # PATH
    get --output /dev/null "$web$1"
    get --output /dev/null --unix-socket /run/lsbaws-one.sock "http://localhost$1"
}
await_line() { # TEXT FILE
    local end=$((SECONDS + 60))
    until grep --quiet --fixed-strings "$1" "$2"; do
        ((SECONDS < end)) || fail "no $1 in $2"
    done
}
get_both /first
for folder in lsbaws lsbaws-one; do
    await_line ' /first ' /var/log/$folder/access.log
    [[ $(stat --format '%a %U:%G' /var/log/$folder) == "750 lsbaws:lsbaws" ]]
    [[ $(stat --format '%a %U:%G' /var/log/$folder/access.log) == "640 lsbaws:lsbaws" ]]
done
for round in 1 2 3; do
    logrotate --force /etc/logrotate.d/lsbaws
    for folder in lsbaws lsbaws-one; do
        [[ $(stat --format '%a %U:%G' /var/log/$folder/access.log) == "640 lsbaws:lsbaws" ]]
    done
    get_both /$round
    for folder in lsbaws lsbaws-one; do
        # Some requests are answered before the new file is open.
        count_lines() {
            zcat --force /var/log/$folder/access.log* | wc -l
        }
        end=$((SECONDS + 60))
        until [[ $(count_lines) == $((round + 1)) ]]; do
            ((SECONDS < end)) || fail "$(count_lines) lines in $folder after round $round"
        done
    done
done
ls -l /var/log/lsbaws /var/log/lsbaws-one
[[ -e /var/log/lsbaws/access.log.3.gz && -e /var/log/lsbaws-one/access.log.3.gz ]]
# What comes after a rotation is in the new file at last.
get_both /last
for folder in lsbaws lsbaws-one; do
    await_line ' /last ' /var/log/$folder/access.log
done

# The same filter, on a file: what it matches, and what not.
send_raw 8888 'nonsense\r\n\r\n'
await_line '"nonsense" 400 ' /var/log/lsbaws/access.log
fail2ban-regex --print-all-matched /var/log/lsbaws/access.log lsbaws | tee /tmp/matched
grep --extended-regexp '^Lines: .* 1 matched' /tmp/matched
