#!/bin/sh
# Debian packages that remaking the demo's model needs; the tests and the demo need none.
set -eu
apt-get update -qq
apt-get install -y -qq dataset-fashion-mnist
