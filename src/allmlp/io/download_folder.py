"""Where downloads are kept, and whether there may be any."""

import os
from pathlib import Path

from allmlp.errors import ConfigError

__all__ = ["downloads_directory", "is_offline"]


def downloads_directory() -> Path:
    """Return the folder of downloads: ALLMLP_HOME, else "allmlp" in XDG_CACHE_HOME, else ~/.cache/allmlp.

    Raises:
        ConfigError: it would be in the home of a user who has none.
    """
    home = os.environ.get("ALLMLP_HOME")
    try:
        if home:
            return Path(home).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "allmlp"
    except RuntimeError as error:
        raise ConfigError(f"There is no folder for downloads ({error}). Name one with ALLMLP_HOME.") from error


def is_offline() -> bool:
    """Whether ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids the network."""
    # The values that huggingface_hub takes as yes.
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE")
    )
