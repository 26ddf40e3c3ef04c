#!/bin/bash
# The journals of several hosts in one place, where the id of a request finds the host that failed it.
. ./lib.sh

collected=/var/log/journal/remote
on_exit "rm -rf $collected"
on_exit 'systemctl stop tests-collector tests-upload'
mkdir -p "$collected"

configure <<'CONFIG'
[service.web]
trusted_proxies = ["127.0.0.1"]

[[service.web.route]]

[[service.web.route]]
path = "/slow"
delay = "1m"
CONFIG

systemd-run --unit=tests-collector --property=Type=notify \
    /lib/systemd/systemd-journal-remote --listen-http=127.0.0.1:19532 --output="$collected"
systemd-run --unit=tests-upload --property=Type=notify \
    /lib/systemd/systemd-journal-upload --url=http://127.0.0.1:19532 --save-state=/run/tests-upload

# A request fails on this host, as its balancer has numbered it.
since=$(now)
trace=0af7651916cd43dd8448eb211c80319c
curl --silent --header 'X-Unique-ID: request-1' --header "traceparent: 00-$trace-b7ad6b7169203331-01" "$web/slow" &
client=$!
child=$(await_delayed_child "$(main_pid)")
kill -KILL "$child"
expect_no_response

# Another request failed on another host.
journalctl "$since" --output=export --identifier=lsbaws LSBAWS_OUTCOME=killed |
    sed --expression='s/^_HOSTNAME=.*/_HOSTNAME=other/' --expression='s/^_MACHINE_ID=./_MACHINE_ID=f/' \
        --expression='s/=request-1$/=request-2/' |
    /lib/systemd/systemd-journal-remote --output="$collected/remote-other.journal" -

# Which host failed this request?
find_host() {
    await_entry --directory="$collected" LSBAWS_REQUEST_ID="$1" | jq --raw-output ._HOSTNAME
}
[[ $(find_host request-1) == "$(hostname)" ]]
[[ $(find_host request-2) == other ]]
# On which hosts was this trace, and what failed on all?
traced=$(journalctl --directory="$collected" --output=json LSBAWS_TRACE_ID=$trace | jq --raw-output ._HOSTNAME | sort)
[[ $traced == "$(printf '%s\n' other "$(hostname)" | sort)" ]]
failed=$(journalctl --directory="$collected" --output=json LSBAWS_OUTCOME=killed | jq --raw-output ._HOSTNAME | sort)
[[ $failed == "$(printf '%s\n' other "$(hostname)" | sort)" ]]
