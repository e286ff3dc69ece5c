#!/usr/bin/env bash
# Makes a Debian machine ready for one task:
#
#   script/setup.sh run    what building and running braid needs
#   script/setup.sh test   the same, and the programs that the tests drive
#
# It asks dpkg which packages are missing and installs only those. Without root,
# or where there is no apt-get, it changes nothing: it names what is missing and
# the command that installs it, and exits 1.
set -euo pipefail

packages=(gcc libc6-dev pkg-config libavcodec-dev libavutil-dev libswresample-dev
  libx264-dev libyuv-dev libjpeg-dev libopus-dev)
case "${1:-}" in
run) ;;
test)
  packages+=(ffmpeg chromium nginx-light libnginx-mod-rtmp espeak-ng postgresql iproute2 firefox-esr python3-aiortc prometheus
    gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice gstreamer1.0-plugins-{good,bad,ugly} python3-gi
    gstreamer1.0-tools gstreamer1.0-libav vlc-bin vlc-plugin-base)
  ;;
*)
  echo "usage: $0 run|test" >&2
  exit 2
  ;;
esac

if ! command -v go >/dev/null; then
  echo "braid needs Go 1.26 or newer on the PATH: https://go.dev/dl/" >&2
  exit 1
fi

# dpkg -s also succeeds for a removed package whose configuration stayed behind.
installed() {
  case " $(dpkg-query -W -f='${db:Status-Status} ' "$1" 2>/dev/null) " in
  *" installed "*) return 0 ;;
  esac
  return 1
}

# gst tells whether the system's Python sees a GStreamer element.
gst() {
  /usr/bin/python3 -c 'import sys, gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst; Gst.init(None)
sys.exit(Gst.ElementFactory.find(sys.argv[1]) is None)' "$1"
}

# ready is the question asked where dpkg cannot answer: is the thing there under
# whatever name this system packages it?
ready() {
  case "$1" in
  gcc | ffmpeg | chromium | espeak-ng) command -v "$1" >/dev/null ;;
  iproute2) command -v ip >/dev/null ;;
  firefox-esr) command -v firefox-esr firefox >/dev/null ;;
  python3-aiortc) /usr/bin/python3 -c 'import aiortc' ;;
  python3-gi) /usr/bin/python3 -c 'import gi' ;;
  gir1.2-gst-plugins-bad-1.0) /usr/bin/python3 -c 'import gi; gi.require_version("GstWebRTC", "1.0"); from gi.repository import GstWebRTC' ;;
  gstreamer1.0-nice) gst nicesrc ;;
  gstreamer1.0-plugins-good) gst vp8enc ;;
  gstreamer1.0-plugins-bad) gst webrtcbin ;;
  gstreamer1.0-plugins-ugly) gst x264enc ;;
  gstreamer1.0-libav) gst avdec_h264 ;;
  gstreamer1.0-tools) command -v gst-launch-1.0 >/dev/null ;;
  vlc-bin) command -v cvlc >/dev/null ;;
  vlc-plugin-base) find /usr/lib* -name libyuv_plugin.so 2>/dev/null | grep -q . ;;
  pkg-config) command -v pkg-config >/dev/null ;;
  nginx-light) command -v nginx >/dev/null ;;
  prometheus) command -v promtool >/dev/null ;;
  postgresql) command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
  libavcodec-dev | libavutil-dev | libswresample-dev) pkg-config --exists "${1%-dev}" ;;
  libx264-dev) pkg-config --exists x264 ;;
  libjpeg-dev) pkg-config --exists libjpeg ;;
  libopus-dev) pkg-config --exists opus ;;
  libyuv-dev) echo '#include <libyuv.h>' | gcc -E - >/dev/null 2>&1 ;;
  libc6-dev) echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 ;;
  libnginx-mod-rtmp) find /usr/lib*/nginx /usr/share/nginx -name ngx_rtmp_module.so 2>/dev/null | grep -q . ;;
  esac
}

if command -v dpkg >/dev/null && command -v apt-get >/dev/null; then
  debian=yes
else
  debian=
fi

missing=()
for p in "${packages[@]}"; do
  if [ -n "$debian" ]; then
    installed "$p" || missing+=("$p")
  else
    ready "$p" 2>/dev/null || missing+=("$p")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ -z "$debian" ]; then
  echo "braid: missing (names as in Debian 12): ${missing[*]}" >&2
  echo "There is no apt-get here; on Debian or Ubuntu this installs them:" >&2
  echo "  sudo apt-get update && sudo ${install[*]}" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "braid: missing packages: ${missing[*]}" >&2
  echo "Installing them needs root:" >&2
  echo "  sudo apt-get update && sudo ${install[*]}" >&2
  exit 1
fi

echo "braid: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Another apt run may hold the lock for a while on a machine that just booted.
lock=(-o DPkg::Lock::Timeout=300)
apt-get "${lock[@]}" -q update
# nginx and PostgreSQL are only started by tests, on their own ports and sockets,
# and of Prometheus only its checker:
# a policy that answers 101 keeps their packages from starting system services.
if [[ " ${missing[*]} " == *" nginx-light "* || " ${missing[*]} " == *" postgresql "* || " ${missing[*]} " == *" prometheus "* ]] && [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
"${install[@]:0:1}" "${lock[@]}" "${install[@]:1}"
