"""``tta serial``: look at microcontrollers on serial ports."""

from __future__ import annotations

import argparse

from tta.arguments import whole

HELP = "look at microcontrollers on serial ports"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="the ports there are").set_defaults(what="list")
    for name, text in (
        ("monitor", "print what a device says"),
        ("hello", "who is there: firmware, channels, norm"),
        ("bench", "rate, losses, round trip and clock of our firmware"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("port", help="device or pyserial URL, as in serial://")
        one.add_argument("--baud", type=whole(1), default=115200, help="default 115200")
        if name != "hello":
            one.add_argument("--seconds", type=whole(1), help="how long (bench: 10)")
        one.set_defaults(what=name)


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta import serial_tools

    if given.what == "list":
        serial_tools.list_ports()
    elif given.what == "hello":
        serial_tools.hello(given.port, given.baud)
    else:
        getattr(serial_tools, given.what)(given.port, given.baud, given.seconds)
