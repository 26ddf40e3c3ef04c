#!/bin/bash
# With IPv6 switched off, the IPv4 socket works. With IPv6 switched on again, both work.
. ./lib.sh

switch_ipv6() {
    echo "$1" >/proc/sys/net/ipv6/conf/all/disable_ipv6
}
trap 'switch_ipv6 0; finish' EXIT

switch_ipv6 1
(! get --globoff "http://[::1]:8888/") # it is off
systemctl restart lsbaws.socket
systemctl is-active lsbaws.socket
get "$web/"

switch_ipv6 0
get --globoff "http://[::1]:8888/"
