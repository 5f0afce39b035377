"""The way to and from microcontrollers: codecs without I/O, and one file that talks to a port."""

if __name__ != "tta.firmware_bridge":
    raise ImportError("import tta.firmware_bridge, not firmware_bridge")
