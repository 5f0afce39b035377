"""Device profiles: what a board has, and how much of it adaptation may use; one TOML file each."""

if __name__ != "tta.devices":
    raise ImportError("import tta.devices, not devices")
