#!/bin/bash
# Thirty restarts under load: no connection fails.
. ./lib.sh

get "$web/"
socket=$(show lsbaws.socket InvocationID)
start_load
for ((i = 0; i < 30; i++)); do
    supervisor=$(main_pid)
    systemctl restart lsbaws.service
    [[ $(main_pid) != "$supervisor" ]]
done
stop_load
[[ $(show lsbaws.socket InvocationID) == "$socket" ]]
