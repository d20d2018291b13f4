"""What the files of a checkpoint folder are called, ours, timm's and the hub's alike."""

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "WEIGHTS_FILES"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_FILES = (WEIGHTS_FILE, "pytorch_model.bin")  # in order of preference; allmlp writes the first
