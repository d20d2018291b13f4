"""The options of `allmlp export --precision int8`."""

from dataclasses import asdict, dataclass

__all__ = ["Int8Options", "check_int8_options"]


@dataclass(frozen=True, kw_only=True)
class Int8Options:
    """The options of an int8 export, as given; None where omitted."""

    precision: str
    calibrate: str | None
    agreement: float | None
    portable: bool | None


def check_int8_options(options: Int8Options, to: str) -> None:
    """Check the options of int8 against each other. Raises ConfigError."""
    if options == Int8Options(precision="float32", calibrate=None, agreement=None, portable=None):
        return
    from allmlp.quantisation import check_export_options

    check_export_options(to, **asdict(options), dash="--")
