#!/bin/sh
# install.sh WHEEL   installs the exporter into its own virtual environment below /opt, and its service; as root.
# install.sh         installs only the service, for a command in /usr/local/bin or /usr/bin (pipx).
# Run it again to upgrade: the new version replaces the old one if it starts; otherwise the old version is restored.
# /etc/default/socket-state-exporter and drop-ins of the unit are never changed.
# PYTHON=/usr/bin/python3.12 selects an interpreter.
set -eu
name=socket-state-exporter
opt=/opt/$name
bin=/usr/local/bin/$name
units=/usr/local/lib/systemd/system
wheel=${1-}

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || fail "must be run as root"
[ ! -e /usr/lib/$name/exporter ] || fail "the Debian package is installed: upgrade or remove it first"
command -v systemctl >/dev/null || fail "requires systemd"
umask 022

# An interpreter in a home directory is skipped: the service runs as its own user and cannot read home directories.
python() {
  for candidate in ${PYTHON-} /usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3; do
    [ -x "$candidate" ] || continue
    case $(readlink -f "$candidate") in /home/* | /root/*) continue ;; esac
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
    "$candidate" -c 'import ensurepip, venv' 2>/dev/null || {
      echo "install.sh: $candidate has no venv (on Debian: apt-get install python3-venv)" >&2
      continue
    }
    echo "$candidate"
    return
  done
  return 1
}

# systemd may be installed but not running, as in the build of an image.
running() { [ -d /run/systemd/system ]; }

if [ -n "$wheel" ]; then
  [ -f "$wheel" ] || fail "$wheel: no such file"
  python=$(python) || fail "requires Python 3.11 or newer with venv in /usr/bin; PYTHON=... selects another one"
  mkdir -p "$opt"
  new=$(mktemp -d "$opt/venv.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  chmod 755 "$new"
  "$python" -m venv "$new"
  # The wheel contains the lock file of the tested dependencies, with hashes.
  "$new/bin/python" -c 'import sys, zipfile
sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("exporter/shipped/deploy/requirements.lock"))' \
    "$wheel" >"$new/requirements.lock"
  pip="$new/bin/pip --disable-pip-version-check --no-input install --quiet --no-deps"
  $pip --require-hashes --only-binary :all: --requirement "$new/requirements.lock"
  $pip --no-index "$wheel"
  "$new/bin/$name" --version
  files=$(echo "$new"/lib/python3*/site-packages/exporter/shipped/deploy)
else
  for there in "$bin" /usr/bin/$name; do
    [ -x "$there" ] && break
  done
  [ -x "$there" ] || fail "no wheel given, and no $name in /usr/local/bin or /usr/bin"
  case $(readlink -f "$there") in
    /home/* | /root/*) fail "$there is a link into a home directory, which the service cannot read: see the README" ;;
  esac
  files=$(dirname "$(dirname "$(readlink -f "$0")")")
fi

[ -e /etc/default/$name ] || install -D -m 644 "$files/systemd/$name.default" /etc/default/$name
old_unit=
[ ! -e $units/$name.service ] || old_unit=$(cat $units/$name.service)
install -D -m 644 "$files/systemd/$name.service" $units/$name.service
if [ -n "$wheel" ]; then
  manual="$files/manual"
  share=/usr/local/share
  install -D -m 644 "$manual/$name.1" $share/man/man1/$name.1
  install -D -m 644 "$manual/$name.bash" $share/bash-completion/completions/$name
  install -D -m 644 "$manual/_$name" $share/zsh/site-functions/_$name
  install -D -m 644 "$manual/$name.fish" $share/fish/vendor_completions.d/$name.fish
  old=$(readlink "$bin" || true)
  point() { ln -s "$1" "$bin.new" && mv -T "$bin.new" "$bin"; }
  install -m 755 "$files/systemd/uninstall.sh" "$opt/uninstall.sh"
  mkdir -p "$(dirname "$bin")"
  point "$new/bin/$name"
fi

systemctl --quiet enable $name
if running; then
  systemctl daemon-reload
  # Type=notify: restart returns when the exporter is ready or has failed.
  if ! systemctl restart $name; then
    journalctl --no-pager --quiet --unit $name --lines 20 >&2 || true
    if [ -n "$wheel" ] && [ -n "$old" ] && [ -x "$old" ]; then
      point "$old"
      printf '%s\n' "$old_unit" >$units/$name.service
      systemctl daemon-reload
      systemctl restart $name && fail "the new version does not start (see above); the old version is running again"
    fi
    trap - EXIT
    fail "$name does not start (see above)"
  fi
fi

if [ -n "$wheel" ]; then
  trap - EXIT
  for venv in "$opt"/venv.*; do
    [ "$venv" = "$new" ] || rm -rf "$venv"
  done
  # Records the wheel's checksum: deploy/ansible checks it to see whether the wheel is installed.
  rm -f "$opt"/installed.*
  : >"$opt/installed.$(sha256sum <"$wheel" | cut -d' ' -f1)"
fi
if running; then
  echo "$name is running; flags: /etc/default/$name, log: journalctl --unit $name"
else
  echo "$name is installed and will be started by systemd"
fi
