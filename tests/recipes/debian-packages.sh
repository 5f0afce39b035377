#!/bin/sh
# Debian packages that the recipes read; the tests and the demo need none.
set -eu
apt-get update -qq
apt-get install -y -qq dataset-fashion-mnist opencv-doc
# MIT: Fashion-MNIST, which remaking the demo's model needs
# Apache-2.0: street clip, /usr/share/doc/opencv-doc/examples/data/vtest.avi
