# fish completion for lsbaws(8)

set -l commands serve check status top drain undrain completions client help

complete -c lsbaws -f
complete -c lsbaws -s c -l config -r -F -d 'Read this file'
complete -c lsbaws -l set -x -a '(lsbaws completions pairs (commandline -ct | string replace -- --set= "") 2>/dev/null)' -d 'Set one key; overrides files and environment'
complete -c lsbaws -s v -l verbose -d 'On a terminal, write all fields'
complete -c lsbaws -s h -l help -d 'Print help'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'Print the version'

complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a serve -d 'Serve connections (the default)'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a check -d 'Check the configuration and exit'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a status -d 'Show what a running daemon is doing'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a top -d 'Show it on a screen that refreshes itself'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a drain -d 'Let balancers send new connections elsewhere'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a undrain -d 'Let balancers send connections here again'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a completions -d 'Print the completions of a shell'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a client -d 'Load-test a server'
complete -c lsbaws -n "not __fish_seen_subcommand_from $commands" -a help -d 'Print help'
complete -c lsbaws -n '__fish_seen_subcommand_from help' -a 'serve check status top drain undrain completions client'
complete -c lsbaws -n '__fish_seen_subcommand_from completions' -a 'bash zsh fish'

complete -c lsbaws -n '__fish_seen_subcommand_from serve' -a '(__fish_complete_directories)'
complete -c lsbaws -n '__fish_seen_subcommand_from serve' -s l -l listen -x -d 'Where to serve the folder'
complete -c lsbaws -n '__fish_seen_subcommand_from serve' -l listing -d 'List folders without an index.html'
complete -c lsbaws -n '__fish_seen_subcommand_from serve' -l cgi -x -d 'Run the programs in this folder'
complete -c lsbaws -n '__fish_seen_subcommand_from serve' -l fallback -x -d 'Answer paths that name no file by this one'

complete -c lsbaws -n '__fish_seen_subcommand_from check' -l show -d 'Print the values in effect and the source of each'
complete -c lsbaws -n '__fish_seen_subcommand_from check' -s q -l quiet -d 'Print only errors'

complete -c lsbaws -n '__fish_seen_subcommand_from status' -l json -d 'Print all of it as JSON'
complete -c lsbaws -n '__fish_seen_subcommand_from status top drain undrain' -l socket -r -F -d 'The status socket'

complete -c lsbaws -n '__fish_seen_subcommand_from client' -l max-clients -x -d 'Number of client processes'
complete -c lsbaws -n '__fish_seen_subcommand_from client' -l max-conns -x -d 'Connections that each process holds open'
complete -c lsbaws -n '__fish_seen_subcommand_from client' -l timeout -x -d 'Time limit for connections, and for responses'
complete -c lsbaws -n '__fish_seen_subcommand_from client' -l json -d 'Print the report as one JSON object'
