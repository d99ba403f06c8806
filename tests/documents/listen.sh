# Reads what to do on stdin ("run FILE") and answers on stdout with the exit code. Whatever the blocks print goes to
# stderr, and so do they themselves (-v), so that it reads like a terminal.
listen() {
    local verb file pid status
    while read -r verb file; do
        status=0
        case $verb in
        run) . "$file" < /dev/null >&2 ;;
        fail) . "$file" < /dev/null >&2 || status=$? ;;
        start) set -m; (. "$file") < /dev/null >&2 & pid=$!; set +m ;;
        interrupt) kill -INT -- "-$pid"; wait "$pid" || status=$? ;;
        esac
        echo "$status"
    done
}
set -e -o pipefail -v
listen
