#!/bin/bash
# With IPv6 switched off, the IPv4 socket works. With IPv6 switched on again, both work.
. ./lib.sh

switch_ipv6() {
    echo "$1" >/proc/sys/net/ipv6/conf/all/disable_ipv6
}
on_exit 'switch_ipv6 0'

switch_ipv6 1
(! get --globoff "http://[::1]:8888/") # it is off
systemctl restart lsbaws.socket
systemctl is-active lsbaws.socket
get "$web/"

switch_ipv6 0
get --globoff "http://[::1]:8888/"
