# empty.sh ROOT CHECKOUT: installs what is least of Debian in ROOT, enters it, and listens there. In a mount and a
# process namespace of its own, so that all ends with it; the network is this machine's, for Debian's packages and PyPI.
set -e
root=$1 checkout=$2 here=${BASH_SOURCE%/*}
exec 3>&1 >&2
debootstrap --variant=minbase bookworm "$root"

mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mkdir -p "$root$PWD" "$root/srv/project"
mount --bind "$PWD" "$root$PWD"
mount --bind -o ro "$checkout" "$root/srv/project"
cp /etc/resolv.conf "$root/etc/"
# Also where a proxy in between has a certificate of its own.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/pip-ca.crt"
printf '[global]\ncert = /etc/pip-ca.crt\n' > "$root/etc/pip.conf"
cat > "$root/root/.gitconfig" <<END
[url "/srv/project"]
    insteadOf = https://git.example.com/infinilm-svc.git
[safe]
    directory = *
END
printf '%s\n' fail-with-body silent show-error max-time=60 > "$root/root/.curlrc"
cp "$here/listen.sh" "$root/root/.listen.sh"

exec >&3 3>&-
cd /
exec env -i HOME=/root PATH="$PATH" LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    chroot "$root" bash --noprofile --norc -c 'cd; . ~/.listen.sh'
