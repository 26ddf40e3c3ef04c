#!/bin/bash
# Sockets passed by systemd-socket-activate(1): one and three of them, with and without names, and single connections.
. ./lib.sh

cat >/tmp/services.toml <<'TOML'
[log]
target = "stderr"
[[service.web.route]]
path = "/"
body = "this is web"
[[service.other.route]]
path = "/"
body = "this is other"
[[service.third.route]]
path = "/"
body = "this is third"
TOML

# activate [OPTION...] -- COMMAND...: starts it, and waits until its last socket listens. Its PID, and
# after the exec that of lsbaws, is in $activated.
activate() {
    local sockets line
    sockets=$(printf '%s\n' "$@" | grep -c '^--listen=')
    exec {output}< <(exec systemd-socket-activate --setenv=LSBAWS_PROCESS__ALLOW_ROOT=true "$@" 2>&1)
    activated=$!
    while ((sockets > 0)); do
        read -r -t 60 -u "$output" line
        if [[ $line == "Listening on "* ]]; then
            sockets=$((sockets - 1))
        fi
    done
}

# Stops it like systemd does, and prints its output.
deactivate() {
    kill -TERM "$activated"
    cat <&"$output" # until it exits
    exec {output}<&-
}

# One socket without a name: the service web serves it.
activate --listen=127.0.0.1:9001 lsbaws --set log.target=stderr
[[ $(get http://127.0.0.1:9001/) == "Hello, World!" ]]
deactivate >/tmp/said
grep --quiet 'outcome="served"\|outcome=served' /tmp/said

# One socket with a name.
activate --listen=127.0.0.1:9001 --fdname=other lsbaws --config /tmp/services.toml
[[ $(get http://127.0.0.1:9001/) == "this is other" ]]
deactivate

# Three sockets with names: each has its own service.
activate --listen=127.0.0.1:9001 --listen=127.0.0.1:9002 --listen=/tmp/third.sock --fdname=web:other:third \
    lsbaws --config /tmp/services.toml
[[ $(get http://127.0.0.1:9001/) == "this is web" ]]
[[ $(get http://127.0.0.1:9002/) == "this is other" ]]
[[ $(get --unix-socket /tmp/third.sock http://localhost/) == "this is third" ]]
deactivate >/tmp/said
grep --quiet 'unix:uid=0,pid=' /tmp/said # the peer, from the kernel
[[ -S /tmp/third.sock ]] # lsbaws did not create it, and does not remove it

# Three sockets without names: the service web serves all.
activate --listen=127.0.0.1:9001 --listen=127.0.0.1:9002 --listen=127.0.0.1:9003 lsbaws --set log.target=stderr
for port in 9001 9002 9003; do
    [[ $(get "http://127.0.0.1:$port/") == "Hello, World!" ]]
done
deactivate

# A socket without a name and several services: that of the service web.
activate --listen=127.0.0.1:9001 lsbaws --config /tmp/services.toml
[[ $(get http://127.0.0.1:9001/) == "this is web" ]]
deactivate

# A socket of no service alone: an error, with exit code 78.
activate --listen=127.0.0.1:9001 --fdname=none lsbaws --config /tmp/services.toml
(! get http://127.0.0.1:9001/)
cat <&"$output" >/tmp/said
exec {output}<&-
grep --quiet 'for listener' /tmp/said

# Single connections, by LISTEN_FDS and as from inetd.
for way in "" --inetd; do
    # shellcheck disable=SC2086 # no word when there is none
    activate --accept $way --listen=127.0.0.1:9001 lsbaws
    for _ in 1 2 3; do
        [[ $(get http://127.0.0.1:9001/) == "Hello, World!" ]]
    done
    [[ $(send_raw 9001 'nonsense\r\n\r\n') == "HTTP/1.1 400 "* ]]
    deactivate
done

# A datagram socket is an error.
activate --datagram --listen=127.0.0.1:9001 lsbaws
echo wake >/dev/udp/127.0.0.1/9001
cat <&"$output" >/tmp/said
exec {output}<&-
grep --quiet 'found a datagram socket' /tmp/said
