"""``tta export``: make a bundle from a torch model or an ONNX file."""

from __future__ import annotations

import argparse

from tta.alarm_arguments import add_export_arguments

HELP = "make a bundle from a torch model or an ONNX file"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument(
        "factory",
        help="model.onnx, or pkg.mod:factory; the call returns (model, example[, options]), "
        "options being keyword arguments of tta.export.to_bundle",
    )
    p.add_argument(
        "--task",
        help="what the model is for: classify (default), multilabel, detect, segment, regress or embed",
    )
    p.add_argument(
        "--norms",
        help="of an ONNX file whose norms are folded into convolutions: auto (default), insert or keep",
    )
    p.add_argument("-o", "--output", required=True, help="folder to write, NAME.tta by custom")
    p.add_argument("--samples", help="npz of preprocessed source samples (N, ...) for calibration")
    p.add_argument("--labels", help="class names: a file with one a line, or a,b,c")
    p.add_argument(
        "--canaries",
        metavar="NPZ",
        help="labelled frames that adaptation must not unlearn: preprocessed x, y[, severity minor or major]",
    )
    p.add_argument(
        "--preprocess", help="JSON file that says how a frame becomes the input, or none"
    )
    p.add_argument("--hebbian", help="layers that become Hebbian, a,b; 'none' for none")
    p.add_argument(
        "--layers",
        help="norm layers that adapt: all (default), stem, last:N, names a,b, or auto (most drift a ms)",
    )
    p.add_argument(
        "--constant-statistics",
        action="store_true",
        help="gradients take batch statistics for constants: a faster step, no longer exact",
    )
    p.add_argument(
        "--recompute",
        action="store_true",
        help="a step computes every second norm's input again: less memory, more time",
    )
    p.add_argument(
        "--objectives",
        help="step graphs to build (default entropy,nhl; of other tasks all that suit): actmad, slr, …",
    )
    p.add_argument(
        "--explain",
        action="store_true",
        help="graphs for tta explain as well: where in the input a step came from",
    )
    p.add_argument(
        "--ep",
        help="how slots reach a provider: refold, inputs or affine; cpu:refold,tensorrt:affine",
    )
    p.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    p.add_argument("--checks", action="store_true", help="print every check")
    add_export_arguments(p)


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.export.command import export_command

    export_command(given)
