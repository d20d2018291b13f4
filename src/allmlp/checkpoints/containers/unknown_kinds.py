"""Files and folders found in place of weights: what they are, by their content, and what to do about them."""

import codecs
from collections.abc import Iterable, Mapping
from pathlib import Path

from allmlp.io.file_kinds import FileKind

__all__ = ["describe_archive", "describe_file", "describe_folder"]

_OTHER_FRAMEWORK = ", of which allmlp reads no weights; save them as safetensors or .npz"
_DOWNLOADED_PAGE = ", not weights; download it again from the file's own link"
_UNPACK = "; unpack it first"
_NEVER_OPENED = "a pickle, which can run any program and is not opened"

# What follows "this is {kind}".
_ADVICE: Mapping[FileKind, str] = {
    FileKind.GIT_LFS: ", not the weights it points to; run `git lfs pull`",
    FileKind.SVG: _DOWNLOADED_PAGE,
    FileKind.XML: _DOWNLOADED_PAGE,
    FileKind.JSON: ", such as config.json or an error message, not weights",
    FileKind.PICKLE: "; it is not opened, because a pickle can run any program",
    FileKind.TAR: f". Torch before 0.1.10 saved weights in this form, as {_NEVER_OPENED}; if you trust it, load it with "
    "torch.load and save it again with torch.save. If it is an ordinary archive, unpack it first",
    FileKind.GGUF: ", not weights of a Mixer",
    FileKind.NPY: ", not a file of named weights",
    FileKind.HDF5: f", such as Keras saves{_OTHER_FRAMEWORK}",
    FileKind.ONNX: ", of which allmlp reads no weights. `predict`, `evaluate`, `embed` and `inspect` take those that "
    "`allmlp export` wrote; for anything else, name the checkpoint",
    FileKind.TFLITE: _OTHER_FRAMEWORK,
    **dict.fromkeys((FileKind.GZIP, FileKind.BZIP2, FileKind.XZ, FileKind.ZSTANDARD), _UNPACK),
    **dict.fromkeys((FileKind.SEVEN_ZIP, FileKind.RAR), _UNPACK),
}

_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of LevelDB's tables, in which TensorFlow lists a checkpoint's arrays
_TEXT_BYTES = frozenset(b"\t\n\r\x0c\x1b") | set(range(0x20, 0x7F)) | set(range(0x80, 0x100))

# A member of a zip archive by the end of its name, and what such an archive is.
_ARCHIVES = (
    ("model.weights.h5", "a Keras model"),
    ("saved_model.pb", "a TensorFlow SavedModel"),
    ("[Content_Types].xml", "an Office document"),
    (".safetensors", "a zip archive of a weight file"),
    (".npz", "a zip archive of a weight file"),
    (".pth", "a zip archive of a weight file"),
)

_PAGE = "LICENSE-onnxruntime-web.txt"  # in a page of ours, and hardly anywhere else

# A file of a folder by a pattern of its name, and what such a folder is.
_FOLDERS = (
    ("_CHECKPOINT_METADATA", "an Orbax checkpoint"),
    ("manifest.ocdbt", "an Orbax checkpoint"),
    ("saved_model.pb", "a TensorFlow SavedModel"),
    ("*.data-00000-of-*", "a TensorFlow checkpoint"),
    ("checkpoint_*", "a folder of flax checkpoints"),
    ("*.distcp", "a distributed checkpoint of torch"),
    ("*.mlmodel", "a Core ML model"),
)


def describe_file(kind: FileKind | None, start: bytes, end: bytes) -> str:
    """Return what a file is that holds no weights, in words that follow "this is "; "" if it is unknown.

    Args:
        kind: its kind in the table of signatures.
        start: its first bytes.
        end: its last 8 bytes.
    """
    if kind is not None:
        return f"{kind}{_ADVICE.get(kind, ', not weights')}"
    if end == _TABLE_END:
        return f"the list of arrays of a TensorFlow checkpoint{_OTHER_FRAMEWORK}"
    if start[:1] in _maps() and 0xA1 <= start[1] <= 0xBF and start[2:3].isalpha():
        return f"a MessagePack file, such as flax saves{_OTHER_FRAMEWORK}"
    if start and _is_text(start):
        return "plain text, not weights"
    return ""


def describe_archive(names: Iterable[str]) -> str:
    """Return what a zip archive with these members is, in words that follow "this is "; "" if it is unknown."""
    names = list(names)
    for ending, what in _ARCHIVES:
        if any(name.endswith(ending) for name in names):
            return f"{what}{_UNPACK if 'weight file' in what else ', not weights that allmlp reads'}"
    return ""


def describe_folder(folder: Path) -> str:
    """Return what a folder without a config.json is, in words that follow "this is "; "" if it is unknown."""
    if (folder / _PAGE).is_file():
        return "a page that `allmlp export --to web` wrote; `predict` and others take the model in it, model.onnx"
    for pattern, what in _FOLDERS:
        if next(folder.glob(pattern), None) is not None:
            return f"{what}{_OTHER_FRAMEWORK}"
    return ""


def _maps() -> tuple[bytes, ...]:
    return tuple(bytes([first]) for first in range(0x81, 0x90))  # MessagePack's maps of 1 to 15 entries


def _is_text(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return _TEXT_BYTES.issuperset(start)
