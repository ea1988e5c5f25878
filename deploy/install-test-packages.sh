#!/bin/sh
# Installs the Debian or Ubuntu packages that the tests use as cameras and viewers; quick when all are there.
set -eu
. "$(dirname "$0")/as-root.sh"

# The first line is what fanout/_egress is built with; libatomic1 is what the node inside the playwright
# package needs; glib-networking is GStreamer's TLS;
# -bad brings x265enc and voaacenc, -libav G.722; vlc-bin without recommended packages brings no desktop.
packages="
    gcc libc6-dev libssl-dev python3-dev
    chromium fonts-dejavu-core
    libatomic1
    ffmpeg
    python3-gi gir1.2-gst-rtsp-server-1.0
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
    gstreamer1.0-plugins-bad gstreamer1.0-libav glib-networking
    vlc-bin vlc-plugin-base
    iproute2
    coturn nginx openssl
"

if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system; the tests need what these packages hold:" $packages >&2
    exit 1
fi
missing=
for package in $packages; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
        *" installed") ;;
        *) missing="$missing $package" ;;
    esac
done
if [ -n "$missing" ]; then
    as_root sh -c "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends$missing"
fi
