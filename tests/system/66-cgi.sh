#!/bin/bash
# CGI programs of lsbaws.service: their standard error is in the journal, and a stop or restart waits for them.
. ./lib.sh
on_exit 'rm -rf /srv/cgi'

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
# Runs until there is a line in the gate.
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

# A line on standard error has the fields of its connection, which lead to its record.
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

# Requests the slow page in the background, and returns when the program has begun.
start_slow() {
    exec {slow}< <(exec curl --silent --no-buffer "$web/cgi/slow")
    client=$!
    read -r -u "$slow" line
    [[ $line == begun ]]
}

# If the program is killed, the client sees an incomplete response.
since=$(now)
start_slow
pkill --full --exact --signal KILL "/bin/sh /srv/cgi/slow"
if wait "$client"; then fail "the client took an incomplete response for a complete one"; fi
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
jq --exit-status '.LSBAWS_PROGRAM_END == "killed by SIGKILL" and .LSBAWS_OUTCOME == "handler-error"' <<<"$record"

# A restart waits for the program.
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

# But not for longer than drain_timeout: then the program is terminated, and the record contains the reason.
printf '[process]\ndrain_timeout = "1s"\n' >/etc/lsbaws.d/drain.toml
systemctl restart lsbaws.service
since=$(now)
start_slow
systemctl restart lsbaws.service
if wait "$client"; then fail "the client took an incomplete response for a complete one"; fi
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
jq --exit-status '
    .LSBAWS_END == "killed" and .LSBAWS_TERMINATED_BY == "drain" and .LSBAWS_PROGRAM_END == "still running"
' <<<"$record"
[[ -z $(pgrep --full /srv/cgi/slow) ]]
