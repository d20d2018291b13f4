"""Location of allmlp's cache folder, and the offline switch."""

import os
from pathlib import Path

from allmlp.errors import ConfigError

__all__ = ["cache_folder", "is_offline"]


def cache_folder() -> Path:
    """Return allmlp's cache folder: ALLMLP_HOME, else "allmlp" in XDG_CACHE_HOME, else ~/.cache/allmlp.

    Raises:
        ConfigError: the user's home folder is needed but unknown.
    """
    home = os.environ.get("ALLMLP_HOME")
    try:
        if home:
            return Path(home).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "allmlp"
    except RuntimeError as error:
        raise ConfigError(f"allmlp's cache folder is unknown ({error}). Set ALLMLP_HOME to a folder.") from error


def is_offline() -> bool:
    """Return whether ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids network access."""
    # The values that huggingface_hub accepts as true.
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE")
    )
