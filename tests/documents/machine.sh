# machine.sh VENV CHECKOUT [SITE]: makes a machine of its own out of the namespaces that it is started in, and listens.
ip link set lo up
mount -t tmpfs tmpfs /mnt
# What is written to the directories named below is this machine's only.
over() {  # over LOWER [WHERE]
    number=$((number + 1))
    mkdir -p "/mnt/$number/up" "/mnt/$number/work" "${2:-$1}"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/$number/up,workdir=/mnt/$number/work" "${2:-$1}"
}

install_venv() {  # install_venv WHERE SOURCE: as if it had been made there, and SOURCE installed into it
    over "$lent" "$1"
    sed -i "1s|^#!$lent/|#!$1/|" $(grep -lI "^#!$lent/" "$1"/bin/*)
    [ ! -e "$1/bin/activate" ] || sed -i "s|$lent|$1|g" "$1/bin/activate"
    rm -f "$1"/lib/python*/site-packages/__editable__*infinilm*
    local packages
    for packages in "$1"/lib/python*/site-packages; do echo "$2" > "$packages/infinilm-svc.pth"; done
}

lend_venv() {  # lend_venv SITE [EXTRAS]: what bin/venv.sh finds there then is up to date
    install_venv "$1/.venv" "$1"
    echo "$1 $(cksum < "$1/setup.cfg")" | tee "$1/.venv/.installed${2:+-$2}" > "$1/.venv/.installed"
}

set -e
lent=$1 checkout=$2 site=${3:-}
exec 3>&1 >&2
for directory in /etc /home /opt /root /srv /tmp /usr/local /var; do over $directory; done
export HOME=/root
printf '%s\n' fail-with-body silent show-error max-time=30 > ~/.curlrc  # an answer of 400 or more fails the block
git config --global user.name Reader
git config --global user.email reader@example.com
git config --global safe.directory '*'
git config --global url."$checkout".insteadOf https://git.example.com/infinilm-svc.git
cd
if [ -n "$site" ]; then
    over "$checkout" "$site"
    lend_venv "$site"
    PATH=$site/.venv/bin:$PATH
    cd "$site"
fi

exec >&3 3>&-
. "${BASH_SOURCE%/*}/listen.sh"
