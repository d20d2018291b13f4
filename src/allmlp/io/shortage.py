"""Shortages of the machine: memory, threads or open files. They say nothing about the file that was being read."""

import errno

__all__ = ["is_out_of_threads", "shortage"]

_MEMORY = "there is not enough memory; close other programs, or use smaller photos, models or batches"
_FILES = "too many files are open; raise the limit (ulimit -n)"
_THREADS = "the system allows no further thread; raise its limit (ulimit -u, or a container's limit of processes)"
_OS_ERRORS = {errno.ENOMEM: _MEMORY, errno.EMFILE: _FILES, errno.ENFILE: _FILES}
_NO_THREAD = "can't start new thread"
# What Python, the dynamic linker, Pillow and torch say in exceptions of their own types.
_WORDS = {
    _NO_THREAD: _THREADS,
    "out of memory": _MEMORY,
    "not enough memory": _MEMORY,
    "t allocate memory": _MEMORY,
    "cannot allocate": _MEMORY,
    "failed to map segment": _MEMORY,
}


def shortage(error: BaseException) -> str:
    """Return what the machine lacked when this was raised, in words without a full stop; "" if it is another error."""
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _OS_ERRORS:
        return _OS_ERRORS[error.errno]
    if isinstance(error, RuntimeError | OSError | ImportError):
        text = str(error).lower()
        return next((words for said, words in _WORDS.items() if said in text), "")
    return ""


def is_out_of_threads(error: BaseException) -> bool:
    """Return whether this was raised because no thread could be started."""
    return isinstance(error, RuntimeError) and str(error) == _NO_THREAD
