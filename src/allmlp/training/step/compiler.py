"""Whether torch.compile finds the C++ compiler that it needs on the CPU."""

from allmlp.errors import ConfigError

__all__ = ["check_compiler"]


def check_compiler() -> None:
    """Check that torch.compile finds a C++ compiler.

    Raises:
        ConfigError: there is none.
    """
    # Not at the top: slow to import, and only a run that compiles needs it.
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise ConfigError(
            "compile is true, but torch.compile finds no C++ compiler. Install one (g++ or clang++), name it in the "
            "environment variable CXX, or do without (--set compile=false)."
        ) from error
