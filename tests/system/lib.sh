# shellcheck shell=bash
# What the cases share; each sources this first. A case runs as root in the container, and stops at the
# first command that fails. Lines that begin with "# " are shown by the runner even when all is well.
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

# The configuration of a case, from standard input, until the case ends.
configure() {
    mkdir -p /etc/lsbaws.d
    cat >/etc/lsbaws.d/case.toml
    systemctl restart lsbaws.service
}

finish() {
    jobs -p | xargs --no-run-if-empty kill || true # load that goes on when a case has failed
    if [[ -e /etc/lsbaws.d ]]; then
        rm -r /etc/lsbaws.d
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

# Gets a page and nothing else: any status but 2xx, any broken connection fails.
get() {
    curl --silent --show-error --fail --max-time 60 "$@"
}

# Sends text as it is, and prints all that comes back.
send_raw() { # PORT TEXT
    local connection
    exec {connection}<>"/dev/tcp/127.0.0.1/$1"
    printf '%b' "$2" >&"$connection"
    cat <&"$connection"
    exec {connection}>&-
}

# This moment, for "$(now)" as an argument of journalctl. (Not a cursor: with those, journalctl 252 loses
# the first entry that fits when the one at the cursor does not.)
now() {
    journalctl --sync
    date +--since=@%s.%6N
}

# Connections that were served since then, by the records of each and the counts of more.
count_recorded() { # SINCE
    journalctl --sync
    journalctl "$1" --output=json --identifier=lsbaws LSBAWS_OUTCOME=served |
        jq --slurp 'map(.LSBAWS_COUNT // "1" | tonumber) | add // 0'
}

# Those of them that were counted only.
count_folded() { # SINCE
    journalctl "$1" --output=json --identifier=lsbaws LSBAWS_OUTCOME=served LSBAWS_END=folded |
        jq --slurp 'map(.LSBAWS_COUNT | tonumber) | add // 0'
}

# Waits for the first entry of the journal that fits the arguments of journalctl, and prints it as JSON.
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

# Waits until a child of the parent sleeps in the `delay` of its route, and prints its PID. EXCEPT: not
# this one. Neither the kernel nor the child tells anybody, so this has to look again and again.
await_delayed_child() { # PARENT [EXCEPT]
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
    fail "no child of $1 came to its delay"
}

# Load in the background, until stop_load: single requests, and crowds of connections that are held open
# together. What fails is told in $load/failures.
start_load() {
    load=$(mktemp -d)
    cp /usr/libexec/lsbaws/lsbaws-client "$load/" # an upgrade may replace the installed one
    touch "$load/failures" "$load/requests"
    for _ in 1 2 3; do
        request_on_and_on 2>>"$load/failures" &
    done
    crowd_on_and_on 2>>"$load/failures" &
}

request_on_and_on() {
    { set +x; } 2>/dev/null
    while [[ ! -e $load/stop ]]; do
        get --output /dev/null "$web/" || true
        echo >>"$load/requests"
    done
}

crowd_on_and_on() {
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
}
