#!/bin/sh
# Compilers, emulators and the fuzzer that the firmware tests use: under a minute, and about 2 GB on disk.
# Without them those tests skip and say so; nothing else needs them. Debian or Ubuntu, as root.
set -eu
install() {
  missing=
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  [ -n "${updated:-}" ] || apt-get update -qq
  updated=yes
  # shellcheck disable=SC2086 # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
}
install gcc g++ clang gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
  gcc-avr avr-libc arduino-core-avr simavr libsimavr-dev libelf-dev
install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" # the runtimes of its sanitizers and fuzzer
