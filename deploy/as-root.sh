# Sourced: `as_root COMMAND …` runs a command as root, or ends with a message that names it.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        echo "This needs root. Run it yourself, then call make again: sudo $*" >&2
        exit 1
    fi
}
