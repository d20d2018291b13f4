"""File names in a checkpoint folder, the same in ours, timm's and those on the Hub."""

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "WEIGHTS_FILES"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_FILES = (WEIGHTS_FILE, "pytorch_model.bin")  # in order of preference; allmlp writes the first
