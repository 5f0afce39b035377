#!/bin/sh
# Servers that the tests of live sources stream from: FFmpeg (MJPEG), GStreamer's RTSP server, mosquitto (MQTT).
# Without them those tests skip and say so; nothing else needs them. Debian or Ubuntu, as root.
set -eu
missing=
for package in ffmpeg mosquitto python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
  gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly; do
  dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
