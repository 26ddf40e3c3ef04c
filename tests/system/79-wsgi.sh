#!/bin/bash
# The package lsbaws-wsgi: an application in a virtual environment, served by lsbaws.service in its sandbox.
. ./lib.sh
on_exit 'rm -rf /srv/shop /tmp/next'
on_exit 'dpkg --purge lsbaws-wsgi'

mkdir /srv/shop
python3 -m venv --without-pip /srv/shop/venv
(cd /site-packages && cp --recursive blinker click flask itsdangerous jinja2 markupsafe werkzeug /srv/shop/venv/lib/python3*/site-packages/)
write_application() { # VERSION
    cat >/srv/shop/shop.py <<PY
import ctypes
import flask

app = flask.Flask(__name__)
app.config["PROPAGATE_EXCEPTIONS"] = True


@app.route("/")
def index():
    print("a line of the application")
    return "version $1"


@app.route("/raise")
def fail():
    raise ValueError("on purpose")


@app.route("/callback")
def callback():
    square = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number * number)
    return str(square(7))


@app.route("/write/<folder>")
def write(folder):
    try:
        open(f"/{folder}/file", "w").close()
    except OSError as error:
        return error.strerror
    return "written"
PY
}
write_application 1
mkdir -p /etc/lsbaws.d
cat >/etc/lsbaws.d/case.toml <<'TOML'
[[service.web.route]]
handler = "wsgi"
application = "shop:app"
virtualenv = "/srv/shop/venv"
directory = "/srv/shop"
TOML

# Without the package, the error names it.
(! lsbaws check 2>/tmp/message)
grep --quiet 'the handler wsgi needs the package lsbaws-wsgi .*: neither .* nor /usr/lib/lsbaws/_lsbaws.abi3.so exists' /tmp/message
apt-get install --yes /package-wsgi.deb
lsbaws check

# The first connection starts all.
systemctl stop lsbaws.service
systemctl start lsbaws.socket
since=$(now)
[[ $(get "$web/") == "version 1" ]]
record=$(await_entry "$since" LSBAWS_HANDLER=wsgi LSBAWS_TARGET=/)
jq --exit-status '.LSBAWS_OUTCOME == "served" and .LSBAWS_STATUS == "200"' <<<"$record"
entry=$(await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d3640a LSBAWS_TARGET=/)
jq --exit-status '.MESSAGE | endswith(": a line of the application")' <<<"$entry"
[[ $(jq --raw-output .LSBAWS_CONNECTION <<<"$entry") == "$(jq --raw-output .LSBAWS_CONNECTION <<<"$record")" ]]

# An exception: its traceback, its last line, and the connection.
since=$(now)
[[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$web/raise") == 500 ]]
record=$(await_entry "$since" LSBAWS_TARGET=/raise LSBAWS_OUTCOME=handler-error)
journalctl "$since" --output=cat LSBAWS_CONNECTION="$(jq --raw-output .LSBAWS_CONNECTION <<<"$record")" >/tmp/lines
grep --quiet 'Traceback (most recent call last)' /tmp/lines
grep --quiet 'ValueError: on purpose' /tmp/lines

# The sandbox of the unit and that of the service: ctypes needs no executable memory of its own, only /tmp is writable.
[[ $(get "$web/callback") == 49 ]]
[[ $(get "$web/write/tmp") == written && ! -e /tmp/file ]]
[[ $(get "$web/write/srv") == "Read-only file system" ]]

# `check` names what a virtual environment in a home directory and the network need.
warns() { # TEXT
    lsbaws check --set "$1" 2>&1 | grep --quiet --fixed-strings "warning: $2; see \"Programs in the sandbox\""
}
warns service.web.confine.network=true 'service.web.confine.network: lsbaws.service has no network (PrivateNetwork=): enable network.conf'
warns 'service.web.confine.writable=["/srv/shop"]' \
    'service.web.confine.writable: lsbaws.service cannot write to /srv/shop (ProtectSystem=): set ReadWritePaths=/srv/shop in a drop-in'

# A broken version changes nothing, a mended one is served.
echo 'raise RuntimeError("broken")' >>/srv/shop/shop.py
since=$(now)
systemctl reload lsbaws.service
entry=$(await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36411)
report "$(jq --raw-output .MESSAGE <<<"$entry")"
jq --exit-status '.MESSAGE | contains("RuntimeError: broken")' <<<"$entry"
[[ $(get "$web/") == "version 1" ]]
write_application 2
since=$(now)
systemctl reload lsbaws.service
await_entry "$since" MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d36410
[[ $(get "$web/") == "version 2" ]]

# An upgrade of both packages under load.
mkdir /tmp/next
version=$(dpkg-query --show --showformat '${Version}' lsbaws)
for package in package package-wsgi; do
    dpkg-deb --raw-extract /$package.deb /tmp/next/$package
    sed -i "s/^Version: .*/&.next/; s/lsbaws (= [^)]*/&.next/" /tmp/next/$package/DEBIAN/control
    dpkg-deb -Znone --root-owner-group --build /tmp/next/$package /tmp/next/$package.deb
done
on_exit 'dpkg --install /package.deb'
supervisor=$(main_pid)
start_load
apt-get install --yes /tmp/next/package.deb /tmp/next/package-wsgi.deb # unpacks both before the daemon is restarted
stop_load
[[ $(dpkg-query --show --showformat '${Version}' lsbaws-wsgi) == "$version.next" ]]
[[ $(main_pid) != "$supervisor" && $(get "$web/") == "version 2" ]]

# A removal leaves nothing.
dpkg --purge lsbaws-wsgi
[[ ! -e /usr/lib/lsbaws && ! -e /usr/share/doc/lsbaws-wsgi ]]
