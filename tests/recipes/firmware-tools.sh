#!/bin/sh
# Compilers, emulators and the fuzzer that the firmware tests use: about 2 GB on disk.
# Without them those tests skip and say so; nothing else needs them.
set -eu
packages="clang libclang-rt-14-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
 gcc-avr avr-libc arduino-core-avr simavr libsimavr-dev libelf-dev"
missing=
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
