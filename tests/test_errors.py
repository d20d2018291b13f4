"""What the machine lacked is recognised in the exceptions of every library, and nothing else is."""

import errno
import os

import pyarrow as pa
import pytest

from allmlp.errors import is_out_of_threads, shortage

SHORT = {
    "Python": (MemoryError(), "not enough memory"),
    "Arrow": (pa.ArrowMemoryError("malloc of size 64 failed"), "not enough memory"),
    "the system's memory": (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "not enough memory"),
    "the dynamic linker": (
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        "not enough memory",
    ),
    "torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "not enough memory"),
    "CUDA": (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "not enough memory"),
    "Pillow": (OSError("out of memory error when reading image file"), "not enough memory"),
    "threads": (RuntimeError("can't start new thread"), "no further thread"),
    "files of the process": (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "too many files are open"),
    "a disk": (OSError(errno.EIO, os.strerror(errno.EIO)), "does not answer (Input/output error)"),
    "a network mount": (OSError(errno.ESTALE, os.strerror(errno.ESTALE)), "does not answer (Stale file handle)"),
    "files of the machine": (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "too many files are open"),
}
OTHER = [
    OSError(errno.ENOENT, "no such file"),
    OSError(errno.EACCES, "permission denied"),
    OSError("cannot identify image file"),
    ValueError("out of memory"),
    RuntimeError("shape"),
    ImportError("torch"),
]


@pytest.mark.parametrize(("error", "words"), SHORT.values(), ids=SHORT)
def test_a_shortage_is_named(error: Exception, words: str) -> None:
    assert words in shortage(error)
    assert is_out_of_threads(error) == ("thread" in words)


@pytest.mark.parametrize("error", OTHER, ids=str)
def test_another_error_is_none(error: Exception) -> None:
    assert shortage(error) == ""
    assert not is_out_of_threads(error)
