#!/bin/sh
# Fuzzes the C library under AddressSanitizer and UBSan, by default ten million executions: minutes.
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
clang -std=c99 -g -O2 -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
  -DTTA_SENTINEL=1 -Ifirmware_bridge/firmware tests/firmware_bridge/fuzz_bridge.c \
  firmware_bridge/firmware/tta_bridge.c -o "$out/fuzz"
mkdir "$out/corpus"
cd "$out" # a finding would be written here, and is printed as well
./fuzz -runs="${1:-10000000}" -max_len=400 -print_final_stats=1 -verbosity=0 corpus
