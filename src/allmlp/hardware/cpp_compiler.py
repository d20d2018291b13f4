"""Whether torch.compile finds the C++ compiler that it needs on the CPU."""

__all__ = ["finds_cpp_compiler"]


def finds_cpp_compiler() -> bool:
    """Return whether torch.compile finds a C++ compiler: the one in the environment variable CXX, g++ or clang++."""
    # Not at the top: slow to import, and only what compiles needs it.
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        return False
    return True
