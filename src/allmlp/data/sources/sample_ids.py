"""Sample IDs: the path of a photo below its split, the same in a folder, a zip, Parquet, tar shards or CSV.

Order, splits and random draws are derived from sample IDs, never from the order in which files are listed.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from allmlp.data.split_names import split_named

__all__ = ["sample_id_of", "shared_folders", "unique_sample_ids"]


def sample_id_of(path: str, class_name: str, *, num_shared_folders: int = 0) -> str:
    """Return "<class>/<rest>" for a path, with POSIX separators, in Unicode NFC, without a leading split folder.

    The first `num_shared_folders` folders are dropped first (see `shared_folders`). The class name is prepended unless
    the path starts with it, because Parquet files written by Hugging Face keep only the base name.
    """
    rest = "/".join(_parts(path)[num_shared_folders:])
    first, slash, below = rest.partition("/")
    if slash and split_named(first) is not None and not rest.startswith(class_name + "/"):
        rest = below
    return rest if rest.startswith(class_name + "/") else f"{class_name}/{rest}"


def shared_folders(paths: Sequence[str | None]) -> int:
    """Return the number of leading folders common to all paths, such as "photos/" in a CSV next to that folder."""
    folders = [_parts(path)[:-1] for path in paths if path is not None]
    if not folders:
        return 0
    low, high = min(folders), max(folders)  # a prefix common to the lexical extremes is common to all
    count = 0
    while count < min(len(low), len(high)) and low[count] == high[count]:
        count += 1
    return count


def unique_sample_ids(
    candidates: Sequence[str | None], class_names: Sequence[str], read: Callable[[int], bytes]
) -> list[str]:
    """Return one unique sample ID per photo, independent of the order of the photos.

    A photo without a path (None) becomes "<class>/<digest>", with the SHA-256 of its bytes. Photos with the same sample ID
    all get the suffix "#<digest>"; byte-identical ones are numbered from the second on: "#2", "#3", ...
    """
    counts = Counter(candidates)
    sample_ids = []
    for index, (candidate, class_name) in enumerate(zip(candidates, class_names, strict=True)):
        if candidate is None or counts[candidate] > 1:
            digest = hashlib.sha256(read(index)).hexdigest()[:32]
            sample_ids.append(f"{class_name}/{digest}" if candidate is None else f"{candidate}#{digest}")
        else:
            sample_ids.append(candidate)
    return _numbered(sample_ids, class_names)


def _numbered(sample_ids: list[str], class_names: Sequence[str]) -> list[str]:
    counts = Counter(sample_ids)
    taken = {sample_id for sample_id, count in counts.items() if count == 1}
    copies: Counter[str] = Counter()
    # Copies have the same bytes, so ordering them by class makes the result independent of the listing.
    for index in sorted(range(len(sample_ids)), key=lambda index: class_names[index]):
        sample_id = sample_ids[index]
        if counts[sample_id] == 1:
            continue
        while True:
            copies[sample_id] += 1
            numbered = sample_id if copies[sample_id] == 1 else f"{sample_id}#{copies[sample_id]}"
            if numbered not in taken:
                break
        taken.add(numbered)
        sample_ids[index] = numbered
    return sample_ids


def _parts(path: str) -> list[str]:
    # File names that are not valid UTF-8 arrive with lone surrogates, which neither JSON nor CSV can store.
    raw = path.replace("\\", "/").encode("utf-8", "surrogateescape")
    text = unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))
    return [part for part in text.split("/") if part not in ("", ".", "..")]
