#!/bin/sh
# systemd-analyze, which the tests of the service ask whether it takes the unit. Without it they skip and say so.
# Debian or Ubuntu, as root.
set -eu
command -v systemd-analyze > /dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd > /dev/null
