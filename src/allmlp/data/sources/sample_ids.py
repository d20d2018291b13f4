"""A photo's sample ID: its path below the split, the same for the same photo in a folder, a zip, Parquet or CSV.

Order, splits and random draws derive from sample IDs, never from how files were listed.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from allmlp.data.dataset import split_named

__all__ = ["sample_id_of", "shared_folders", "unique_sample_ids"]


def sample_id_of(path: str, class_name: str, *, num_shared_folders: int = 0) -> str:
    """Return "<class>/<rest>" for a path, with POSIX separators, in Unicode's NFC, without a leading split folder.

    The first `num_shared_folders` folders are dropped first (see `shared_folders`). The class name is put in front
    unless the path starts with it, as Parquet files made by Hugging Face keep only a base name.
    """
    rest = "/".join(_parts(path)[num_shared_folders:])
    first, slash, below = rest.partition("/")
    if slash and split_named(first) is not None and not rest.startswith(class_name + "/"):
        rest = below
    return rest if rest.startswith(class_name + "/") else f"{class_name}/{rest}"


def shared_folders(paths: Sequence[str | None]) -> int:
    """Return how many leading folders all paths share: "photos/" in a CSV next to that folder identifies nothing."""
    folders = [_parts(path)[:-1] for path in paths if path is not None]
    if not folders:
        return 0
    low, high = min(folders), max(folders)  # what the extremes share in lexical order, all share
    count = 0
    while count < min(len(low), len(high)) and low[count] == high[count]:
        count += 1
    return count


def unique_sample_ids(
    candidates: Sequence[str | None], class_names: Sequence[str], read: Callable[[int], bytes]
) -> list[str]:
    """Return one unique sample ID per photo, whatever order the photos are given in.

    A photo without a path (None) is named "<class>/<digest>" by the SHA-256 of its bytes; photos whose sample IDs
    clash all get "#<digest>" as a suffix; of byte-identical ones, the second is numbered "#2" and so on.
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
    # Copies have the same bytes; ordering them by class leaves nothing that depends on the listing.
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
    # A name that is not valid UTF-8 comes from the operating system with lone surrogates, which no JSON or CSV takes.
    raw = path.replace("\\", "/").encode("utf-8", "surrogateescape")
    text = unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))
    return [part for part in text.split("/") if part not in ("", ".", "..")]
