"""The options of `allmlp bench`: which belong together, and their lists of names and numbers."""

from allmlp.errors import ConfigError

__all__ = ["check_mode", "names_in", "sizes_in"]

# What each of the other uses takes no notice of.
_UNUSED = {
    "--tune": (
        "--against",
        "--backend",
        "--batch-sizes",
        "--precision",
        "--calibrate",
        "--minutes",
        "--quick",
        "--out",
    ),
    "--training": ("--against", "--backend", "--calibrate"),
    "--input": ("--against", "--backend", "--batch-sizes", "--precision", "--calibrate"),
}


def check_mode(modes: list[str], given: list[str]) -> None:
    """Check that one thing is measured, and that no option is given that this would ignore.

    Raises:
        ConfigError: otherwise.
    """
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(modes)} measure different things; give one of them.")
    if modes and (unused := [name for name in given if name in _UNUSED[modes[0]]]):
        raise ConfigError(f"{' and '.join(unused)} with {modes[0]} would have no effect; omit it.")
    if "--quick" in given and "--minutes" in given:
        raise ConfigError("--quick and --minutes both limit the time; give one of them.")


def names_in(option: str, text: str | None) -> tuple[str, ...] | None:
    """Return the names in the value of an option, each once; None if it is not given.

    Raises:
        ConfigError: there are none.
    """
    if text is None:
        return None
    if not (names := tuple(dict.fromkeys(_words(text)))):
        raise ConfigError(
            f"{option} {text[:100]!r} has no name in it: a shell variable may be unset. Omit it, or give names."
        )
    return names


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def sizes_in(text: str) -> tuple[int, ...]:
    """Return the numbers in the value of --batch-sizes, each once. Raises ConfigError for anything else."""
    words = _words(text)
    if not words or not all(word.isdecimal() and len(word) < 6 for word in words):
        raise ConfigError(f"--batch-sizes {text[:100]!r}: expected numbers such as 1,32.")
    return tuple(dict.fromkeys(map(int, words)))
