# What the scripts of real parts share: fetching one, starting it, waiting for it and ending it. Read by a script that
# has set `part` to its name, and `tools` to what fetching it takes, unless that is Java and Maven.
ready_s=90

die() { echo "$part: $*" >&2; exit 1; }

free_port() { python3 "$(dirname "${BASH_SOURCE[0]}")/free_port.py"; }

fetched() { # NAME FILL: prints the cached folder NAME, which `FILL FOLDER` fills once, or fails
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/oribi
    local folder=$cache/$1 half
    if [[ ! -d $folder ]]; then
        local tool
        for tool in ${tools:-java mvn}; do
            command -v "$tool" >/dev/null || { echo "$part: no $tool" >&2; exit 3; }
        done
        mkdir -p "$cache"
        # Beside the right one and renamed, so that half of it never counts.
        half=$(mktemp -d "$folder.XXXXXX")
        "$2" "$half" >&2 || { rm -rf "$half"; die "cannot fetch it"; }
        mv -T "$half" "$folder" 2>/dev/null || rm -rf "$half"
    fi
    echo "$folder"
}

launch() { # DIR COMMAND...: starts a program, whose output goes to DIR/log
    local dir=$1
    # A process group of its own: what interrupts the script must not take the part along half way.
    setsid "${@:2}" >>"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
}

launch_java() { # DIR ARGUMENT...
    launch "$1" java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "${@:2}"
}

await() { # DIR COMMAND...: until the command succeeds
    local dir=$1 deadline=$((SECONDS + ready_s))
    until "${@:2}"; do
        kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -5 "$dir/log" >&2; die "it ended by itself"; }
        ((SECONDS < deadline)) || die "not ready after $ready_s s; see $dir/log"
        sleep 0.1
    done
}

end() { # SIGNAL DIR
    local pid
    pid=$(cat "$2/pid" 2>/dev/null) || return 0
    kill "-$1" "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$2/pid"
}
