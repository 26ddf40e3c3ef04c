#!/bin/bash
# Programs in the sandbox of lsbaws.service: CGI as shipped, and with the drop-in of lsbaws(8) where one has to write.
. ./lib.sh

drop_in=/etc/systemd/system/lsbaws.service.d
trap 'rm -rf $drop_in /srv/cgi /srv/git; systemctl daemon-reload; finish' EXIT

mkdir -p /srv/cgi
cat >/srv/cgi/hello <<'SH'
#!/bin/sh
echo "about to answer" >&2
echo Content-Type: text/plain
echo
id --user --name
touch /srv/cgi/mine 2>&1 | sed 's/.*: //'
SH
cat >/srv/cgi/slow <<'SH'
#!/bin/sh
echo Content-Type: text/plain
echo
echo begun
sleep 1000
SH
cat >/srv/cgi/page.php <<'PHP'
<?php echo preg_match('/^(a+)+$/', str_repeat('a', 100)), ' ', json_encode(['php' => true]), "\n";
PHP
chmod +x /srv/cgi/hello /srv/cgi/slow
lsbaws_home=/srv/git
git init --quiet --bare $lsbaws_home/some.git
git -C $lsbaws_home/some.git config http.receivepack true
chown -R lsbaws:lsbaws $lsbaws_home

configure <<'TOML'
[process]
drain_timeout = "1s"

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

# A shell script, as the unit's user, with the file system read-only.
since=$(now)
answer=$(get "$web/cgi/hello")
[[ $answer == $'lsbaws\nRead-only file system' ]]
entry=$(await_entry "$since" --identifier=lsbaws MESSAGE_ID=86f3a1d04c7b4e0f9a52c8e1b7d3640a)
jq --exit-status '
    (.MESSAGE | endswith(": about to answer")) and .LSBAWS_TARGET == "/cgi/hello" and .PRIORITY == "6"
    and .LSBAWS_SERVICE == "web" and (.LSBAWS_PEER | startswith("127.0.0.1:"))
' <<<"$entry"
record=$(await_entry "$since" LSBAWS_HANDLER=cgi)
[[ $(jq --raw-output .LSBAWS_CONNECTION <<<"$record") == "$(jq --raw-output .LSBAWS_CONNECTION <<<"$entry")" ]]
jq --exit-status '.LSBAWS_PROGRAM_END == "exit code 0" and .LSBAWS_OUTCOME == "served"' <<<"$record"

# PHP, whose regular expressions are compiled to machine code where that is allowed: here it is not.
[[ $(get "$web/cgi/page.php") == *'1 {"php":true}' ]]

# A clone needs nothing; a push has to write, which is for a drop-in to allow.
work=$(mktemp -d)
export HOME=$work GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git clone --quiet "$web/git/some.git" "$work/clone"
head --bytes=2000000 /dev/urandom >"$work/clone/file"
git -C "$work/clone" add file
git -C "$work/clone" commit --quiet --message=pushed
if git -C "$work/clone" push --quiet origin HEAD:refs/heads/main; then
    fail "the push has written to a read-only file system"
fi
mkdir -p $drop_in
printf '[Service]\nReadWritePaths=/srv/git\n' >$drop_in/git.conf
systemctl daemon-reload
systemctl restart lsbaws.service
git -C "$work/clone" push --quiet origin HEAD:refs/heads/main
git clone --quiet --branch=main "$web/git/some.git" "$work/again"
cmp "$work/clone/file" "$work/again/file"

# A restart ends a program that goes on for longer than the drain, and its record says so.
since=$(now)
exec {slow}< <(exec curl --silent --no-buffer "$web/cgi/slow")
read -r -u "$slow" line
[[ $line == begun ]]
systemctl restart lsbaws.service
record=$(await_entry "$since" LSBAWS_TARGET=/cgi/slow LSBAWS_END=killed)
jq --exit-status '.LSBAWS_ENDED_BY == "drain" and .LSBAWS_PROGRAM_END == "still running"' <<<"$record"
[[ -z $(pgrep --full "sleep 1000") ]]
