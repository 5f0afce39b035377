"""What a user may import is listed, sorted and there."""

import importlib
import pkgutil

import pytest

import tta

PACKAGES = ["tta", *(m.name for m in pkgutil.walk_packages(tta.__path__, "tta.") if m.ispkg)]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_importable(name):
    package = importlib.import_module(name)
    public = getattr(package, "__all__", [])
    assert list(public) == sorted(public)
    for each in public:
        assert getattr(package, each) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tta' has no attribute 'nothing'"):
        _ = tta.nothing
