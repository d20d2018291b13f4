"""Which device to compute on, and whether it computes in bfloat16."""

from allmlp.errors import ConfigError, did_you_mean

__all__ = ["DEVICES", "choose_device", "describe_device", "has_bfloat16"]

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps"; "auto" takes the fastest that is there.

    Raises:
        ConfigError: an unknown device, or one that this machine or this torch has not.
    """
    import torch

    if name not in DEVICES:
        raise ConfigError(f"There is no device {name!r}.{did_you_mean(name, DEVICES)} Choose one of {', '.join(DEVICES)}.")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(sorted(device for device, is_there in available.items() if is_there))
        raise ConfigError(f"device {name} is not available: torch {torch.__version__} finds {there} here. Use --device auto.")
    return name


def has_bfloat16(device: str) -> bool:
    """Say whether the device multiplies bfloat16 matrices in hardware; elsewhere bfloat16 is slower than float32."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return any(bool(features.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def describe_device(device: str) -> str:
    """Return a name for people, such as "cpu (AMD EPYC, 2 threads)"."""
    import torch

    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    if device == "cpu":
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return f"cpu ({features.get('cpu_name', 'unknown processor')}, {torch.get_num_threads()} threads)"
    return device
