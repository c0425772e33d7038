#!/usr/bin/env bash
# Installs the real programs that tests and benchmarks run against, on Debian and its kin, as root.
#
# Nothing is started: a package that would start its server on port 80 is kept from it while this runs. DokuWiki is only unpacked
# (to /var/cache/viaduct/dokuwiki), because its package would configure a web server.
set -euo pipefail

if [ "$(id -u)" != 0 ]; then
  echo "install-peers: run as root: sudo $0" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "install-peers: this needs apt-get (Debian, Ubuntu); elsewhere install by hand what this file lists" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive

packages=(
  # PHP in each of its shapes, and the extensions DokuWiki asks for.
  php-cgi php-fpm php-cli php-xml php-mbstring php-sqlite3 php-gd
  # Servers.
  nginx-light lighttpd apache2 libapache2-mod-fcgid haproxy caddy fcgiwrap spawn-fcgi
  # CGI programs, and libraries to write FastCGI programs with.
  python3-minimal python3 perl gcc libc6-dev libfcgi-dev libfcgi-bin libfcgi-perl
  # Python applications, and the servers that they are compared on.
  python3-flask python3-django python3-bottle gunicorn uwsgi-core uwsgi-plugin-python3
  # Clients and tools.
  git curl wrk procps util-linux systemd ca-certificates openssl
  # Shells that complete our commands.
  zsh fish
  # What reads php-fpm's logs and metrics (prometheus has promtool).
  logrotate prometheus
  # A browser, for TLS and HTTP/2.
  chromium
  # DokuWiki's own files look for these libraries where their packages put them.
  php-geshi php-phpseclib libphp-simplepie libjs-jquery libjs-jquery-ui libjs-jquery-cookie
)

# A mirror that is being updated, or a connection that breaks, is no reason to fail.
retry() {
  local attempt
  for attempt in 1 2 3 4; do
    "$@" && return 0
    echo "install-peers: attempt $attempt failed: $*" >&2
    sleep $((attempt * 5))
  done
  return 1
}

# 101 is invoke-rc.d's "not allowed": no package starts its service while this file is there.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi

apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)

echo "install-peers: package lists"
retry "${apt[@]}" update

echo "install-peers: ${#packages[@]} packages"
retry "${apt[@]}" install -y --no-install-recommends "${packages[@]}"

dokuwiki=${VIADUCT_DOKUWIKI:-/var/cache/viaduct/dokuwiki}
if [ ! -e "$dokuwiki/usr/share/dokuwiki/doku.php" ]; then
  echo "install-peers: DokuWiki into $dokuwiki"
  download=$(mktemp -d)
  # apt fetches as the user _apt where it can.
  chmod 777 "$download"
  (cd "$download" && retry "${apt[@]}" download dokuwiki)
  mkdir -p "$dokuwiki"
  dpkg -x "$download"/dokuwiki_*.deb "$dokuwiki"
  rm -rf "$download"
fi

echo "install-peers: done"
