# shellcheck shell=bash
# Functions of all cases; each case sources this file first. A case runs as root in the container, and stops at the
# first command that fails. The runner shows lines that begin with "# " even if the case passes.
set -eux -o pipefail

web=http://127.0.0.1:8888
export SYSTEMD_COLORS=0 SYSTEMD_PAGER=''

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

report() {
    echo "# $*"
}

# Configures lsbaws from standard input, until the case ends.
configure() {
    mkdir -p /etc/lsbaws.d
    cat >/etc/lsbaws.d/case.toml
    systemctl restart lsbaws.service
}

# Configures / and, with this delay, /slow. The lines come first.
configure_slow() { # DELAY [LINE...]
    printf '%s\n' "${@:2}" '[[service.web.route]]' '[[service.web.route]]' 'path = "/slow"' "delay = \"$1\"" | configure
}

# Adds a setting of [Service] to lsbaws.service, until the case ends.
drop_in=/run/systemd/system/lsbaws.service.d
set_unit() { # SETTING
    mkdir -p $drop_in
    printf '[Service]\n%s\n' "$1" >$drop_in/case.conf
    systemctl daemon-reload
}

# Runs a command when the case ends, even if it fails; the last one first.
cleanup=()
on_exit() { # COMMAND
    cleanup=("$1" "${cleanup[@]}")
}

finish() {
    jobs -p | xargs --no-run-if-empty kill || true # the load of a failed case
    for command in "${cleanup[@]}"; do
        eval "$command"
    done
    if [[ -e $drop_in ]]; then
        rm -r $drop_in
        systemctl daemon-reload
    fi
    if compgen -G '/etc/lsbaws.d/*.toml' >/dev/null; then
        rm /etc/lsbaws.d/*.toml
        systemctl restart lsbaws.service
    fi
}
trap finish EXIT

show() { # UNIT PROPERTY
    systemctl show --value --property="$2" "$1"
}

main_pid() {
    show lsbaws.service MainPID
}

# Prints a page. Fails at any status except 2xx, and at any broken connection.
get() {
    curl --silent --show-error --fail --max-time 60 "$@"
}

# Sends text unmodified, and prints the answer.
send_raw() { # PORT TEXT
    local connection
    exec {connection}<>"/dev/tcp/127.0.0.1/$1"
    printf '%b' "$2" >&"$connection"
    cat <&"$connection"
    exec {connection}>&-
}

# The current time as an argument of journalctl. (Not a cursor: with a cursor, journalctl 252 loses the first matching
# entry if the entry at the cursor does not match.)
now() {
    journalctl --sync
    date +--since=@%s.%6N
}

# The number of served connections since then: records plus counts.
count_recorded() { # SINCE
    journalctl --sync
    journalctl "$1" --output=json --identifier=lsbaws LSBAWS_OUTCOME=served |
        jq --slurp 'map(.LSBAWS_COUNT // "1" | tonumber) | add // 0'
}

# The number of those without a record.
count_suppressed() { # SINCE
    journalctl "$1" --output=json --identifier=lsbaws LSBAWS_OUTCOME=served LSBAWS_END=suppressed |
        jq --slurp 'map(.LSBAWS_COUNT | tonumber) | add // 0'
}

# Waits for the first journal entry that matches the arguments of journalctl, and prints it as JSON.
await_entry() {
    local entries entry="" follower
    exec {entries}< <(exec journalctl --follow --no-tail --output=json "$@")
    follower=$!
    read -r -t 60 -u "$entries" entry || true
    kill "$follower"
    exec {entries}<&-
    [[ -n $entry ]] || fail "no entry in the journal for: $*"
    echo "$entry"
}

# Waits until a child of the supervisor other than EXCEPT sleeps in the `delay` of its route, and prints its PID. There is
# no notification of that, so this polls.
await_delayed_child() { # SUPERVISOR [EXCEPT]
    local child end=$((SECONDS + 60))
    { set +x; } 2>/dev/null
    until ((SECONDS > end)); do
        for child in $(pgrep --parent "$1"); do
            if [[ $child != "${2-}" && $(cat "/proc/$child/wchan" 2>/dev/null) == *nanosleep* ]]; then
                set -x
                echo "$child"
                return
            fi
        done
    done
    fail "no child of $1 reached its delay"
}

# Requests /slow in the background, and waits until its child sleeps. Sets $client, the PID of curl, and $child. The
# response is in /tmp/slow.
request_slow() {
    curl --silent "$web/slow" >/tmp/slow &
    client=$!
    child=$(await_delayed_child "$(main_pid)")
}

# Waits for $client, whose connection must have been closed without a response.
expect_no_response() {
    local status=0
    wait "$client" || status=$?
    [[ $status == 52 ]] || fail "curl exited with $status"
}

# Load in the background, until stop_load: single requests, and crowds of connections that are open at the same time.
# $load/failures contains the errors.
start_load() {
    load=$(mktemp -d)
    cp /usr/libexec/lsbaws/lsbaws-client "$load/" # an upgrade may replace the installed one
    touch "$load/failures" "$load/requests"
    for _ in 1 2 3; do
        repeat_requests 2>>"$load/failures" &
    done
    repeat_crowds 2>>"$load/failures" &
}

repeat_requests() {
    { set +x; } 2>/dev/null
    while [[ ! -e $load/stop ]]; do
        get --output /dev/null "$web/" || true
        echo >>"$load/requests"
    done
}

repeat_crowds() {
    { set +x; } 2>/dev/null
    while [[ ! -e $load/stop ]]; do
        "$load/lsbaws-client" --max-conns 64 --timeout 60s "$web/" >"$load/report" 2>&1 || cat "$load/report" >&2
        echo >>"$load/crowds"
    done
}

stop_load() {
    touch "$load/stop"
    wait
    report "under load: $(wc -l <"$load/requests") requests, $(wc -l <"$load/crowds") crowds of 64 connections"
    [[ -s $load/requests && -s $load/crowds ]] || fail "there was no load"
    [[ -z $(cat "$load/failures") ]]
}
