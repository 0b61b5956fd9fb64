#!/bin/sh
# uninstall.sh           removes the files of install.sh; as root. The configuration is kept.
# uninstall.sh --purge   also removes /etc/default/socket-state-exporter and drop-ins of the unit.
set -eu
name=socket-state-exporter
bin=/usr/local/bin/$name

[ "$(id -u)" -eq 0 ] || {
  echo "uninstall.sh: must be run as root" >&2
  exit 1
}
case ${1-} in
  "" | --purge) ;;
  *)
    echo "usage: uninstall.sh [--purge]" >&2
    exit 2
    ;;
esac

if [ -e /usr/local/lib/systemd/system/$name.service ]; then
  systemctl --quiet disable $name
  [ ! -d /run/systemd/system ] || systemctl stop $name
  rm -f /usr/local/lib/systemd/system/$name.service
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
# A command installed by pipx is left to pipx.
case $(readlink "$bin" || true) in /opt/$name/venv.*) rm -f "$bin" ;; esac
rm -rf /opt/$name
share=/usr/local/share
rm -f $share/man/man1/$name.1 $share/bash-completion/completions/$name \
  $share/zsh/site-functions/_$name $share/fish/vendor_completions.d/$name.fish
if [ "${1-}" = --purge ]; then
  rm -rf /etc/default/$name /etc/systemd/system/$name.service.d
elif [ -e /etc/default/$name ]; then
  echo "kept: /etc/default/$name"
fi
