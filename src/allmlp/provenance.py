"""What a number was made with: command, commit, hardware, versions. Written beside every measurement."""

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from allmlp.hardware import describe_device

__all__ = ["environment"]


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the command line, the time, the commit where there is one, the versions, and the hardware."""
    import numpy
    import PIL
    import torch

    import allmlp

    facts = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "allmlp": allmlp.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "platform": platform.platform(),
        "device": describe_device(device),
    }
    return {name: value for name, value in facts.items() if value}


def _commit() -> str:
    """Return the commit of the checkout that this package runs from, with "+" when files differ; "" when installed."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent.parent / ".git").exists():
        return ""
    try:
        commit = _git(folder, "rev-parse", "--short=10", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
