#!/bin/bash
# CGI programs of lsbaws.service: what they say is in the journal, and their end with the service, or without it.
. ./lib.sh
trap 'rm -rf /srv/cgi; finish' EXIT

mkdir -p /srv/cgi
mkfifo --mode=0644 /srv/cgi/gate
exec {gate}<>/srv/cgi/gate
cat >/srv/cgi/hello <<'SH'
#!/bin/sh
echo "about to answer" >&2
echo Content-Type: text/plain
echo
id --user --name
SH
# Goes on until there is a line in the gate.
cat >/srv/cgi/slow <<'SH'
#!/bin/sh
echo Content-Type: text/plain
echo
echo begun
read -r line <gate
echo "$line"
SH
chmod +x /srv/cgi/hello /srv/cgi/slow

configure <<'TOML'
[[service.web.route]]
path = "/cgi/"
handler = "cgi"
root = "/srv/cgi"
TOML

# What a program says on standard error has the fields of its connection, by which its record is found.
since=$(now)
[[ $(get "$web/cgi/hello") == lsbaws ]]
entry=$(await_entry "$since" --identifier=lsbaws MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d3640a)
jq --exit-status '
    (.MESSAGE | endswith(": about to answer")) and .LSBAWS_TARGET == "/cgi/hello" and .PRIORITY == "6"
    and .LSBAWS_SERVICE == "web" and (.LSBAWS_PEER | startswith("127.0.0.1:"))
' <<<"$entry"
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
[[ $(jq --raw-output .LSBAWS_CONNECTION <<<"$record") == "$(jq --raw-output .LSBAWS_CONNECTION <<<"$entry")" ]]
jq --exit-status '.LSBAWS_PROGRAM_END == "exit code 0" and .LSBAWS_OUTCOME == "served"' <<<"$record"

# Gets the slow page in the background, and returns when the program has begun.
start_slow() {
    exec {slow}< <(exec curl --silent --no-buffer "$web/cgi/slow")
    client=$!
    read -r -u "$slow" line
    [[ $line == begun ]]
}

# A program that somebody kills is no end that looks like one.
since=$(now)
start_slow
pkill --full --exact --signal KILL "/bin/sh /srv/cgi/slow"
if wait "$client"; then fail "the client took what it got for the whole"; fi
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
jq --exit-status '.LSBAWS_PROGRAM_END == "killed by SIGKILL" and .LSBAWS_OUTCOME == "handler-error"' <<<"$record"

# A restart lets a program finish.
since=$(now)
start_slow
systemctl restart lsbaws.service &
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36405 # draining
echo finished >&"$gate"
[[ $(cat <&"$slow") == finished ]]
wait "$client"
wait
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
jq --exit-status '.LSBAWS_PROGRAM_END == "exit code 0" and .LSBAWS_OUTCOME == "served"' <<<"$record"

# But not for longer than the drain: then it is ended, and its record says so.
printf '[process]\ndrain_timeout = "1s"\n' >/etc/lsbaws.d/drain.toml
systemctl restart lsbaws.service
since=$(now)
start_slow
systemctl restart lsbaws.service
if wait "$client"; then fail "the client took what it got for the whole"; fi
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
jq --exit-status '
    .LSBAWS_END == "killed" and .LSBAWS_ENDED_BY == "drain" and .LSBAWS_PROGRAM_END == "still running"
' <<<"$record"
[[ -z $(pgrep --full /srv/cgi/slow) ]]
