#!/bin/sh
# Makes build/arm64: an arm64 Debian that is only unpacked, wheels for it, and an emulator that is new enough.
# Nothing in it is run as root, and no binfmt_misc is needed: the emulator is called by name.
set -eu
cd "$(dirname "$0")/../.."
out=build/arm64
python=.venv/bin/python
mkdir -p "$out"

if ! command -v mmdebstrap > /dev/null || ! command -v qemu-aarch64 > /dev/null; then
	apt-get update -qq && apt-get install -y -qq mmdebstrap qemu-user
fi
# The guest: Python 3.11 of Debian 12, for which the oldest supported onnxruntime has a wheel, too.
[ -x "$out/root/usr/bin/python3.11" ] || mmdebstrap --quiet --architectures=arm64 --variant=extract \
	--include=python3,libstdc++6,zlib1g,libgomp1,libssl3,libffi8 bookworm "$out/root"
# Debian 12's own qemu 7.2 ends in a segmentation fault where onnxruntime 1.32 is imported; qemu 10 does not.
[ -x "$out/qemu/usr/bin/qemu-aarch64" ] || mmdebstrap --quiet --variant=extract --include=qemu-user trixie "$out/qemu"

wheels() { # folder, requirements
	folder=$out/$1
	[ -d "$folder/onnxruntime" ] && return
	shift
	mkdir -p "$folder.whl" "$folder"
	$python -m pip --disable-pip-version-check download -q --no-deps --only-binary=:all: --python-version 3.11 \
		--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
		--platform manylinux2014_aarch64 -d "$folder.whl" "$@" safetensors flatbuffers packaging protobuf
	for wheel in "$folder".whl/*.whl; do $python -m zipfile -e "$wheel" "$folder"; done
}
wheels newest numpy onnxruntime
wheels oldest numpy==1.26.4 onnxruntime==1.18.1

rm -rf "$out/dist" "$out/tta" && $python -m pip --disable-pip-version-check wheel -q --no-deps -w "$out/dist" .
for wheel in "$out"/dist/*.whl; do $python -m zipfile -e "$wheel" "$out/tta"; done

if command -v gcc > /dev/null; then
	gcc -O2 -shared -fPIC -o "$out/count.so" tests/arm64/count.c
fi
