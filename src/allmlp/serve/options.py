"""`ServeOptions`: the limits of a server, each with its bounds; and whether the extra `serve` is installed."""

import importlib.util
import math
import os
from dataclasses import dataclass, field, fields

from allmlp.errors import ConfigError, MissingExtraError
from allmlp.io.display import quote

__all__ = ["ServeOptions", "check_extra", "keys_of_variable"]

_MODULES = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
_BOUNDS: dict[str, tuple[float, float]] = {
    "max_batch": (1, 1024),
    "max_wait_ms": (0, 1000),
    "max_queue": (1, 100_000),
    "max_photos": (1, 10_000),
    "max_upload_mb": (1, 1000),
    "timeout_s": (0.1, 3600),
    "header_timeout_s": (0.1, 3600),
    "body_timeout_s": (0.1, 3600),
}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The limits of a server. A request beyond one of them is refused, and others go on.

    Attributes:
        max_batch: photos that are computed together.
        max_wait_ms: milliseconds that a batch waits for photos which are being decoded; it never waits for others.
        max_queue: photos that were accepted and not yet answered. Beyond it: 503 at once.
        max_photos: photos of one request.
        max_upload_mb: megabytes (10^6 bytes) of one request's body. The bodies being read or answered have at most 8 times this
            together, or 256 MB if that is more. Beyond it: 503.
        timeout_s: seconds from a complete request to its answer. Beyond it: 504.
        header_timeout_s: seconds that a client has to send its headers. Beyond it: 408.
        body_timeout_s: seconds that a client has to send its body. Beyond it: 408. A client that reads nothing of an answer
            for as long loses the connection.
        api_keys: keys of which a request must carry one; () accepts requests without.

    Raises:
        ConfigError: a value out of its range, or a key that no header can carry.
    """

    max_batch: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 256
    max_photos: int = 64
    max_upload_mb: int = 32
    timeout_s: float = 30.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    api_keys: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        problems = []
        for each in fields(self):
            if each.name == "api_keys":
                continue
            value, (low, high) = getattr(self, each.name), _BOUNDS[each.name]
            kinds = int if each.type is int else int | float
            if (
                isinstance(value, bool)
                or not isinstance(value, kinds)
                or not math.isfinite(value)
                or not low <= value <= high
            ):
                what = "an integer" if each.type is int else "a number"
                problems.append(f"{each.name} is {quote(value)}; expected {what} from {low:g} to {high:g}")
        if not problems and self.max_photos > self.max_queue:
            problems.append(f"max_photos is {self.max_photos}, more than max_queue ({self.max_queue}) can ever hold")
        if any(not key.isascii() or not key.isprintable() or not key or " " in key for key in self.api_keys):
            problems.append("a key is empty, or has a space or a character outside of ASCII, which no header can carry")
        if problems:
            raise ConfigError("serve: " + "; ".join(problems) + ".")

    @property
    def max_upload_bytes(self) -> int:
        """Bytes of one request's body."""
        return self.max_upload_mb * 1_000_000


def keys_of_variable(name: str) -> tuple[str, ...]:
    """Return the keys in an environment variable, separated by commas: two while clients change from one to the other.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    keys = tuple(key.strip() for key in os.environ.get(name, "").split(",") if key.strip())
    if not keys:
        raise ConfigError(
            f"--api-key-env {name}: this environment variable is not set, or empty. Set it to the key first."
        )
    return keys


def check_extra() -> None:
    """Check that the extra `serve` is installed.

    Raises:
        MissingExtraError: a library is missing.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing).replace("_", "-")
        raise MissingExtraError(f"Serving needs {names}, not installed here: pip install 'allmlp[serve]'")
