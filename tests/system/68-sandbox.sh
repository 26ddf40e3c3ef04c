#!/bin/bash
# "Programs in the sandbox" of lsbaws(8): what programs cannot do by default, and that each drop-in of the package, and
# each part of the one in the manual, permits one thing without the others. `lsbaws check` names the drop-in.
. ./lib.sh

php_ini=/etc/php/8.2/cgi/conf.d/90-case.ini
on_exit "rm -rf $php_ini /var/lib/php/sessions/sess_* /srv/cgi /srv/git /home/user"

# Enables only this drop-in of the package, or the part of the manual's drop-in with this setting.
allow() { # NAME.conf|SETTING
    rm -rf $drop_in
    mkdir -p $drop_in
    if [[ $1 == *.conf ]]; then
        ln -s "/usr/share/lsbaws/drop-ins/$1" $drop_in/
        systemctl daemon-reload
        systemctl restart lsbaws.service
        return
    fi
    {
        echo '[Service]'
        zcat /usr/share/man/man8/lsbaws.8.gz | sed -n '/^\.Ss Programs in the sandbox/,/^\.S[sh] /p' | awk -v setting="$1" '
            function finish() { if (index(part, "\n" setting "\n")) print part; part = "" }
            /^#/ { finish() }
            /^\.Ed/ { finish() }
            /^[#A-Z]/ { part = part $0 "\n" }'
    } >$drop_in/case.conf
    grep --quiet --line-regexp "$1" $drop_in/case.conf
    systemctl daemon-reload
    systemctl restart lsbaws.service
}

# PATH has ANSWER only with that drop-in.
needs() { # NAME.conf|SETTING PATH ANSWER
    rm -rf $drop_in
    systemctl daemon-reload
    systemctl restart lsbaws.service
    [[ $(get "$web$2") != "$3" ]]
    allow "$1"
    [[ $(get "$web$2") == "$3" ]]
}

write_program() { # NAME
    { printf '#!/bin/sh\necho Content-Type: text/plain\necho\n' && cat; } >"/srv/cgi/$1"
    chmod +x "/srv/cgi/$1"
}

mkdir -p /srv/cgi /home/user
install --mode=4755 /usr/bin/id /srv/cgi/id
echo content >/home/user/file
write_program whoami <<<'./id --user --name'
write_program home <<<'cat /home/user/file'
write_program network <<<"curl --silent $web/cgi/whoami"
write_program load <<<'test -r /proc/loadavg && echo readable'
write_program umask <<<'umask'
write_program write <<<'touch /srv/cgi/mine 2>&1 | sed "s/.*: //"; touch /tmp/mine && echo written'
cat >/srv/cgi/page.php <<'PHP'
<?php echo preg_match('/^(a+)+$/', str_repeat('a', 100)), ' ', json_encode(['php' => true]), "\n";
PHP
cat >/srv/cgi/session.php <<'PHP'
<?php echo @session_start() ? "session" : "no session", "\n";
PHP

mkdir -p /srv/git
configure <<'TOML'
[service.web.confine]
network = true
writable = ["/srv/cgi", "/srv/git", "/var/lib/php/sessions"]

[[service.web.route]]
path = "/cgi/"
handler = "cgi"
root = "/srv/cgi"

[[service.web.route]]
path = "/cgi/"
extension = ".php"
handler = "cgi"
root = "/srv/cgi"
interpreter = "/usr/bin/php-cgi"

[[service.web.route]]
path = "/git"
handler = "cgi"
program = "/usr/lib/git-core/git-http-backend"
environment = { GIT_PROJECT_ROOT = "/srv/git", GIT_HTTP_EXPORT_ALL = "" }
TOML

# A setuid program gains no privileges. Only the private /tmp is writable.
[[ $(get "$web/cgi/whoami") == lsbaws ]]
[[ $(get "$web/cgi/write") == $'Read-only file system\nwritten' && ! -e /tmp/mine ]]

needs home.conf /cgi/home content
needs network.conf /cgi/network lsbaws
# A service has no network without its key, even with the drop-in.
sed -i 's/^network = true/network = false/' /etc/lsbaws.d/case.toml
systemctl restart lsbaws.service
[[ -z $(get "$web/cgi/network") ]]
sed -i 's/^network = false/network = true/' /etc/lsbaws.d/case.toml
needs programs.conf /cgi/load readable
needs UMask=0022 /cgi/umask 0022
needs ReadWritePaths=/var/lib/php/sessions /cgi/session.php session

# PHP compiles its regular expressions to machine code. Where this is not permitted, it works, but logs a warning.
get_php() {
    since=$(now)
    [[ $(get "$web/cgi/page.php") == '1 {"php":true}' ]]
    record=$(await_entry "$since" LSBAWS_TARGET=/cgi/page.php LSBAWS_PROGRAM_END="exit code 0")
    warning=$(journalctl "$since" --output=cat MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d3640a \
        LSBAWS_CONNECTION="$(jq --raw-output .LSBAWS_CONNECTION <<<"$record")")
}
get_php
[[ $warning == *"Allocation of JIT memory failed"* ]]
echo pcre.jit=0 >$php_ini
get_php
[[ -z $warning ]]
rm $php_ini
allow programs.conf
get_php
[[ -z $warning ]]

# A clone needs no permission. A push needs write access.
work=$(mktemp -d)
export HOME=$work GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init --quiet --bare /srv/git/some.git
git -C /srv/git/some.git config http.receivepack true
chown --recursive lsbaws:lsbaws /srv/git/some.git
git clone --quiet "$web/git/some.git" "$work/clone"
head --bytes=2000000 /dev/urandom >"$work/clone/file"
git -C "$work/clone" add file
git -C "$work/clone" commit --quiet --message=pushed
if git -C "$work/clone" push --quiet origin HEAD:refs/heads/main; then
    fail "the push wrote to a read-only file system"
fi
allow ReadWritePaths=/srv/git
git -C "$work/clone" push --quiet origin HEAD:refs/heads/main
git clone --quiet --branch=main "$web/git/some.git" "$work/again"
cmp "$work/clone/file" "$work/again/file"

# check reads the drop-ins. In the sandbox, an error names what hides a path.
configure <<'TOML'
[service.web]
nice = 5
[[service.web.route]]
handler = "files"
root = "/srv/cgi"
TOML
warns() { # TEXT
    lsbaws check | grep --quiet --fixed-strings "warning: $1; see \"Programs in the sandbox\""
}
rm -rf $drop_in
warns 'service.web.nice: lsbaws.service denies setpriority(2) (SystemCallFilter=): enable programs.conf'
allow programs.conf
has_no_warning() {
    lsbaws check >/tmp/checked
    (! grep --quiet 'warning: service' /tmp/checked)
}
has_no_warning
for path in /home/user /root/www /tmp/www /var/tmp/www; do
    mkdir -p "$path"
    chmod 0755 /root "$path"
    sed -i "s|^root = .*|root = \"$path\"|" /etc/lsbaws.d/case.toml
    runuser -u lsbaws -- lsbaws check
    since=$(now)
    (! systemctl reload lsbaws.service)
    case $path in
        /home/*) hides='ProtectHome= of the unit hides /home' ;;
        /root/*) hides='ProtectHome= of the unit hides /root' ;;
        /tmp/*) hides='PrivateTmp= of the unit hides the /tmp of the host' ;;
        *) hides='PrivateTmp= of the unit hides the /var/tmp of the host' ;;
    esac
    entry=$(await_entry "$since" --unit=lsbaws.service --identifier=lsbaws _TRANSPORT=stdout)
    report "$(jq --raw-output .MESSAGE <<<"$entry")"
    jq --exit-status --arg hides "; $hides" '.MESSAGE | endswith($hides)' <<<"$entry"
done
warns 'service.web.route[0].root: lsbaws.service has a /var/tmp of its own (PrivateTmp=): use another directory'
sed -i 's|^root = .*|root = "/home/user"|' /etc/lsbaws.d/case.toml
warns 'service.web.route[0].root: lsbaws.service hides /home (ProtectHome=): enable home.conf'
ln -s /usr/share/lsbaws/drop-ins/home.conf $drop_in/
systemctl daemon-reload
systemctl restart lsbaws.service
has_no_warning
[[ $(get "$web/file") == content ]]
chmod 0700 /root
rm -r /root/www /tmp/www /var/tmp/www
