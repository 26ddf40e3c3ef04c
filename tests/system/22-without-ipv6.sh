#!/bin/bash
# A host with IPv6 switched off still has its IPv4 socket; switched on again, the other one works too.
. ./lib.sh

switch_ipv6() {
    echo "$1" >/proc/sys/net/ipv6/conf/all/disable_ipv6
}
trap 'switch_ipv6 0; finish' EXIT

switch_ipv6 1
(! get --globoff "http://[::1]:8888/") # it is off indeed
systemctl restart lsbaws.socket
systemctl is-active lsbaws.socket
get "$web/"

switch_ipv6 0
get --globoff "http://[::1]:8888/"
