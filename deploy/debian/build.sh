#!/usr/bin/env bash
# build.sh PYTHON WHEEL DIRECTORY [ARCHITECTURE]: builds DIRECTORY/socket-state-exporter_VERSION_ARCHITECTURE.deb.
# The wheel and the libraries of requirements.lock are installed in /usr/lib/socket-state-exporter, for the exporter
# only, with the binaries for every Python from 3.11 to 3.14: one package works on Debian 12 and its successors, and
# after an upgrade of the host. PYTHON must have pip.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$1 wheel=$2 directory=$3 architecture=${4:-$(dpkg --print-architecture)}
name=socket-state-exporter
case $architecture in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *)
    echo "build.sh: $architecture: unsupported; only amd64 and arm64 have wheels of all libraries" >&2
    exit 1
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
lib=$tree/usr/lib/$name
umask 022
# Reproducible build: the same commit gives the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1580601600)}

pip=("$python" -m pip --disable-pip-version-check --no-input install --quiet --no-deps --no-compile)
for version in 3.11 3.12 3.13 3.14; do
  "${pip[@]}" --target "$work/$version" --only-binary :all: --implementation cp --python-version "$version" \
    --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    --require-hashes --requirement "$root/requirements.lock"
  rm -rf "$work/$version/bin"
  # A file that two versions have in common must be identical. *.dist-info contains no code and may differ.
  mkdir -p "$lib"
  (cd "$work/$version" && find . -type f ! -path '*.dist-info/*') | while read -r file; do
    [[ ! -e $lib/$file ]] || cmp "$lib/$file" "$work/$version/$file"
  done
  cp -r --no-clobber "$work/$version/." "$lib"
done
"${pip[@]}" --target "$work/exporter" --no-index "$wheel"
cp -r "$work/exporter/exporter" "$work"/exporter/*.dist-info "$lib"
find "$lib" -name direct_url.json -delete # contains the path of the wheel
find "$lib" -type f -exec chmod 644 {} +
find "$lib" -name '*.py' -exec sed -i '1{/^#!/d}' {} + # not executable
rm -f "$lib"/*/{RECORD,INSTALLER,REQUESTED}

shipped=$lib/exporter/shipped/deploy
install -D -m 755 "$here/launcher" "$tree/usr/bin/$name"
install -D -m 644 "$shipped/systemd/$name.service" "$tree/lib/systemd/system/$name.service"
install -D -m 644 "$shipped/systemd/$name.default" "$tree/etc/default/$name"
install -D -m 644 "$shipped/manual/$name.bash" "$tree/usr/share/bash-completion/completions/$name"
install -D -m 644 "$shipped/manual/_$name" "$tree/usr/share/zsh/vendor-completions/_$name"
install -D -m 644 "$shipped/manual/$name.fish" "$tree/usr/share/fish/vendor_completions.d/$name.fish"
install -D -m 644 "$shipped/manual/$name.1" "$tree/usr/share/man/man1/$name.1"
gzip -9n "$tree/usr/share/man/man1/$name.1"
install -D -m 755 "$here/runtime" "$tree/usr/share/python3/runtime.d/$name.rtupdate"
install -D -m 644 "$here/lintian-overrides" "$tree/usr/share/lintian/overrides/$name"
find "$shipped" -name '*.sh' -exec chmod 755 {} +

version=$(basename "$wheel" | cut -d- -f2)
documents=$tree/usr/share/doc/$name
mkdir -p "$documents"
gzip -9nc "$root/CHANGELOG.md" >"$documents/CHANGELOG.md.gz"
printf '%s (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$name" "$version" \
  "$(sed -n 's/^Maintainer: //p' "$here/control")" "$(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" |
  gzip -9n >"$documents/changelog.gz"
{
  echo "socket-state-exporter: Apache-2.0; see /usr/share/common-licenses/Apache-2.0"
  for metadata in "$lib"/*.dist-info; do
    [[ $metadata != *socket_state_exporter* ]] || continue
    printf '\n== %s\n\n' "$(basename "$metadata" .dist-info)"
    find "$metadata" -type f \( -path '*/licenses/*' -o -name 'LICEN[CS]E*' \) -print0 | LC_ALL=C sort -z | xargs -0 cat
  done
} >"$documents/copyright"

mkdir "$tree/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
  -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)/" "$here/control" >"$tree/DEBIAN/control"
install -m 755 "$here"/{postinst,prerm,postrm} "$tree/DEBIAN"
echo "/etc/default/$name" >"$tree/DEBIAN/conffiles"
(cd "$tree" && find etc lib usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$directory"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$directory/${name}_${version}_$architecture.deb" >/dev/null
echo "$directory/${name}_${version}_$architecture.deb"
