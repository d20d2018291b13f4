"""Refusal of a run that compiles where torch.compile finds no C++ compiler."""

from allmlp.errors import ConfigError
from allmlp.hardware.cpp_compiler import finds_cpp_compiler

__all__ = ["check_compiler"]


def check_compiler() -> None:
    """Check that torch.compile finds a C++ compiler.

    Raises:
        ConfigError: there is none.
    """
    if not finds_cpp_compiler():
        raise ConfigError(
            "compile is true, but torch.compile finds no C++ compiler. Install one (g++ or clang++), name it in the "
            "environment variable CXX, or do without (--set compile=false)."
        )
