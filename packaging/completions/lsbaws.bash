# bash completion for lsbaws(8)

_lsbaws() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local options="--config --set --verbose --help" command="" skip="" word

    # The command is the first word that is neither an option nor the value of an option.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $skip ]]; then
            skip=""
            continue
        fi
        case $word in
            -c | --config | --set | --socket | =) skip=yes ;; # bash splits at "="
            -*) ;;
            *)
                command=$word
                break
                ;;
        esac
    done

    # bash splits the value of --set at "=", so that only what follows is replaced.
    if [[ ${COMP_LINE:0:COMP_POINT} =~ \ --set[\ =]+([^\ ]*)$ ]]; then
        local written=${BASH_REMATCH[1]}
        mapfile -t COMPREPLY < <("$1" completions pairs "$written" 2>/dev/null)
        if [[ $written == *=* ]]; then
            COMPREPLY=("${COMPREPLY[@]#*=}")
        else
            compopt -o nospace # after "KEY="
        fi
        return
    fi

    case $previous in
        -c | --config)
            # Files with this suffix, and directories.
            mapfile -t COMPREPLY < <(compgen -f -X '!*.toml' -- "$current"; compgen -d -- "$current")
            compopt -o filenames
            return
            ;;
        --socket)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames
            return
            ;;
        -l | --listen | --cgi | --fallback | --max-clients | --max-conns | --timeout) return ;; # free text
    esac

    case $command in
        "") options+=" --version serve check status top drain undrain completions client help" ;;
        serve)
            options+=" --listen --listing --cgi --fallback"
            if [[ $current != -* ]]; then
                mapfile -t COMPREPLY < <(compgen -d -- "$current")
                compopt -o filenames
                return
            fi
            ;;
        check) options+=" --show --quiet" ;;
        top | drain | undrain) options+=" --socket" ;;
        status) options+=" --json --socket" ;;
        completions) options="bash zsh fish --help" ;;
        client) options="--help --version --max-clients --max-conns --timeout --json" ;;
        help) options="serve check status top drain undrain completions client" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
}
complete -F _lsbaws lsbaws
