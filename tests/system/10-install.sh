#!/bin/bash
# The package installs on a fresh Debian. Its socket is enabled and active; nothing else runs.
. ./lib.sh

# The state before, for 90-remove.sh to compare.
./list-files >/var/tmp/files-before
[[ $(systemctl is-system-running) == running ]]

apt-get install --yes /package.deb

systemctl is-active lsbaws.socket
systemctl is-enabled lsbaws.socket
[[ $(systemctl is-enabled lsbaws.service) == static ]]
[[ $(systemctl is-active lsbaws.service) == inactive ]]
[[ $(systemctl is-active lsbaws-inetd.socket) == inactive ]]
[[ $(systemctl is-enabled lsbaws-inetd.socket) == disabled ]]

# Both loopback addresses, with the longest queue that the kernel permits.
queue=$(cat /proc/sys/net/core/somaxconn)
[[ $(ss -ltnH "sport = :8888" | awk '{ print $4, $3 }' | sort) == "127.0.0.1:8888 $queue
[::1]:8888 $queue" ]]

[[ $(getent passwd lsbaws | cut -d: -f5-) == "lsbaws web server:/nonexistent:/usr/sbin/nologin" ]]
(($(id --user lsbaws) < 1000))

[[ $(dpkg-query --show --showformat '${Conffiles}' lsbaws) == *" /etc/lsbaws.toml "* ]]
# Only root and the daemon may read the configuration.
[[ $(stat --format '%a %U:%G' /etc/lsbaws.toml) == "640 root:lsbaws" ]]
[[ $(stat --format '%a %U:%G' /etc/lsbaws.d) == "750 root:lsbaws" ]]
[[ $(dpkg-query --listfiles lsbaws | grep -F /etc/lsbaws.d) == "/etc/lsbaws.d
/etc/lsbaws.d/README" ]]
lsbaws check
# The handler of tests/attacks, which executes code of the client, is in builds for tests only.
(! grep --quiet text/x-lsbaws-probe /usr/bin/lsbaws)
runuser -u lsbaws -- lsbaws check
(! runuser -u nobody -- lsbaws check 2>/tmp/message)
[[ $(cat /tmp/message) == "lsbaws: /etc/lsbaws.toml: unable to read: Permission denied; as installed, only root"* ]]
[[ $(lsbaws --version) == "lsbaws $(dpkg-query --show --showformat '${Version}' lsbaws | sed 's/-[^-]*$//')" ]]

# All entries of the catalog are compiled into that of the journal.
journalctl --list-catalog | grep ' lsbaws: ' >/tmp/catalog
[[ $(wc -l </tmp/catalog) == "$(grep -c '^-- ' /usr/lib/systemd/catalog/lsbaws.catalog)" ]]

for page in "8 lsbaws" "5 lsbaws.toml" "7 lsbaws-migration"; do
    # shellcheck disable=SC2086 # two words
    man $page >/tmp/page
    [[ -s /tmp/page ]]
done

# Every option and every key of the program is in the manuals and completions.
for option in $({ lsbaws --help; lsbaws check --help; lsbaws client --help; } | grep -o -- '--[a-z-]*' | sort -u); do
    for file in man/man8/lsbaws.8.gz bash-completion/completions/lsbaws zsh/vendor-completions/_lsbaws \
        fish/vendor_completions.d/lsbaws.fish; do
        zgrep --quiet -- "${option#--}" "/usr/share/$file" || fail "$file lacks $option"
    done
done
for key in $(lsbaws check --show | sed -n 's/^\([a-z_]*\) = .*/\1/p' | sort -u); do
    zgrep --quiet "^\.It Li $key\( \|\$\)" /usr/share/man/man5/lsbaws.toml.5.gz || fail "lsbaws.toml(5) lacks $key"
    grep --quiet "^#$key = " /etc/lsbaws.toml || fail "/etc/lsbaws.toml lacks $key"
done
