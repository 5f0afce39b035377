"""``tta inspect``: say what a bundle holds, or which layers of an ONNX file could adapt."""

from __future__ import annotations

import argparse

HELP = "say what a bundle holds, or which layers of an ONNX file could adapt"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("bundle", help="a bundle, or model.onnx before its export")
    p.add_argument("--json", action="store_true", help="the manifest itself")
    p.add_argument("--diagram", metavar="FILE", help="draw it as SVG (needs the extra export)")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    if given.bundle.endswith(".onnx"):
        from tta.inspection import describe_onnx

        print(describe_onnx(given.bundle), end="")
        return
    from tta.bundle import Bundle
    from tta.inspection import describe

    bundle = Bundle(given.bundle)
    if given.diagram:
        from tta.inspection import draw

        print(f"{draw(bundle, given.diagram)}: {bundle.manifest.name} as a diagram")
        return
    print(bundle.manifest.to_json() if given.json else describe(bundle), end="")
