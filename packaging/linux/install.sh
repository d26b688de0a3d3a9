#!/bin/sh
# Install RhythmicML for this user, below ~/.local: the program, its icon, its entry in the menu.
#   sh install.sh            install or renew, from the files beside this one
#   sh install.sh --remove   take it away again; models, versions and settings stay
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
share=${XDG_DATA_HOME:-"$HOME/.local/share"}
bin="$HOME/.local/bin"
id=io.github.rhythmicml

renew_menu() {
  if command -v update-desktop-database >/dev/null 2>&1; then
    update-desktop-database -q "$share/applications" || true
  fi
}

if [ "${1:-}" = "--remove" ]; then
  rm -f "$bin/rhythmicml" "$share/applications/$id.desktop" "$share/metainfo/$id.metainfo.xml" \
    "$share/icons/hicolor/scalable/apps/rhythmicml.svg"
  renew_menu
  echo "RhythmicML was taken away. Its data stays in $share/rhythmicml."
  exit 0
fi

if [ -f "$here/SHA256SUMS" ]; then
  (cd "$here" && grep ' rhythmicml$' SHA256SUMS | sha256sum --check --quiet -)
fi
mkdir -p "$bin" "$share/applications" "$share/metainfo" "$share/icons/hicolor/scalable/apps"
cp "$here/rhythmicml" "$bin/.rhythmicml.new"
chmod 755 "$bin/.rhythmicml.new"
mv "$bin/.rhythmicml.new" "$bin/rhythmicml"
sed "s|^Exec=rhythmicml|Exec=\"$bin/rhythmicml\"|" "$here/$id.desktop" > "$share/applications/$id.desktop"
cp "$here/$id.metainfo.xml" "$share/metainfo/"
cp "$here/rhythmicml.svg" "$share/icons/hicolor/scalable/apps/"
renew_menu
echo "RhythmicML is installed: $bin/rhythmicml"
case ":$PATH:" in *":$bin:"*) ;; *) echo "Add $bin to your PATH to call it by its name." ;; esac
