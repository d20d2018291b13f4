"""The Mixer among the names of a file: without the prefixes of wrappers, and apart from whatever else was saved with it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from allmlp.checkpoints.naming.other_models import describe_unknown_weights
from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES, NamingScheme
from allmlp.errors import CheckpointError
from allmlp.io.display import quote, shorten, summarise
from allmlp.model import PARAMETERS

__all__ = ["Selection", "select_mixer"]

# Prefixes added by wrappers: DistributedDataParallel, torch.compile, transformers' TimmWrapper, Lightning. They may be on
# some of the names only.
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.|timm_model\.|model\.)*")

# A prefix under which averaged weights are saved, as by timm's ModelEma in a Lightning module.
_AVERAGED = re.compile(r"(?:^|[._/])(?:ema|averaged?|swa)(?:[._/]|\Z)", re.IGNORECASE)

_MAX_NAME_LENGTH = 500  # of a weight, with its prefixes
_NUM_SHOWN = 10


@dataclass(frozen=True)
class Selection:
    """The names of one Mixer in a file.

    Attributes:
        stored: the name in the file for each name in the naming scheme, or for a name that is not in it.
        scheme: the naming scheme that knows most of the names.
        remarks: what was left out, and which of two Mixers was taken, in words.
    """

    stored: Mapping[str, str]
    scheme: NamingScheme
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Group:
    """Weights that would be a Mixer's without `prefix`: names in the file by our names."""

    prefix: str
    scheme: NamingScheme
    stored: Mapping[str, str]

    def is_whole(self) -> bool:
        """Whether these are all weights of a Mixer, with or without its classifier."""
        blocks = {int(name.split(".")[1]) for name in self.stored if name.startswith("blocks.")}
        if len(self.stored) > len(PARAMETERS) * len(blocks) or blocks != set(range(len(blocks))):
            return False
        wanted = {
            name.replace("{i}", str(index)) for name in PARAMETERS for index in (blocks if "{i}" in name else (0,))
        }
        return wanted - set(self.stored) in (set(), {"head.weight", "head.bias"})


def select_mixer(names: Iterable[str], *, where: str) -> Selection:
    """Return the names of the Mixer among `names`.

    If all names are a Mixer's, with or without the prefixes of wrappers, all are taken. Otherwise, the complete Mixer under a
    single prefix is taken; of two, the averaged one. If none is complete, the names that are most like a Mixer's are returned,
    to be compared with those of a Mixer.

    Raises:
        CheckpointError: none of the names belongs to token mixing (the message says what the file looks like), there are
            two Mixers, or a weight occurs with and without a prefix.
    """
    names = list(names)
    stripped = {_WRAPPERS.sub("", name, count=1): name for name in names}
    scheme = max(NAMING_SCHEMES, key=lambda scheme: _num_known(stripped, scheme))
    if len(stripped) == len(names) == _num_known(stripped, scheme) and _has_token_mixing(stripped, scheme):
        return Selection(stripped, scheme)
    groups = _groups(names)
    whole = [group for group in groups if group.is_whole() and not _unexplained(group, groups, names)]
    if whole:
        return _chosen(whole, names, where=where)
    if _has_token_mixing(stripped, scheme):
        if len(stripped) < len(names):
            _refuse_twice(names, where=where)
        return Selection(stripped, scheme)
    if groups:
        group = max(groups, key=lambda group: len(group.stored))
        inside = {name.removeprefix(group.prefix): name for name in names if name.startswith(group.prefix)}
        return Selection(inside, group.scheme)
    raise CheckpointError(f"{where}: this is not an MLP-Mixer. {describe_unknown_weights(names)}")


def _num_known(names: Iterable[str], scheme: NamingScheme) -> int:
    return sum(scheme.ours(name) is not None for name in names)


def _has_token_mixing(names: Iterable[str], scheme: NamingScheme) -> bool:
    return any(".token_mixing." in (scheme.ours(name) or "") for name in names)


def _groups(names: Iterable[str]) -> list[_Group]:
    """Return the groups of names with a common prefix that hold any token mixing."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    schemes = {scheme.name: scheme for scheme in NAMING_SCHEMES}
    for name in names:
        for scheme in NAMING_SCHEMES if len(name) <= _MAX_NAME_LENGTH else ():
            if (parts := scheme.split(name)) is not None:
                found.setdefault((parts[0], scheme.name), {})[parts[1]] = name
    return [
        _Group(prefix, schemes[scheme], stored)
        for (prefix, scheme), stored in found.items()
        if any(".token_mixing." in name for name in stored)
    ]


def _unexplained(group: _Group, groups: Iterable[_Group], names: Iterable[str]) -> set[str]:
    """Return the names with the prefix of `group` that belong to no group: with them, it may be another model."""
    known = {stored for other in groups for stored in other.stored.values()}
    return {name for name in names if name.startswith(group.prefix) and name not in known}


def _chosen(whole: list[_Group], names: list[str], *, where: str) -> Selection:
    averaged = [group for group in whole if _AVERAGED.search(group.prefix)]
    if len(whole) > 1 and len(averaged) != 1:
        prefixes = " and ".join(quote(group.prefix) for group in whole[:_NUM_SHOWN])
        example = whole[0].prefix
        raise CheckpointError(
            f"{where}: it holds {len(whole)} Mixers, under the prefixes {prefixes}; which of them is meant? Save that one "
            f"alone, for example: {{name.removeprefix({example!r}): weight for name, weight in state.items() "
            f"if name.startswith({example!r})}}."
        )
    chosen = averaged[0] if len(whole) > 1 else whole[0]
    taken = {chosen.scheme.theirs(ours): name for ours, name in chosen.stored.items()}
    remarks = []
    rejected = [quote(group.prefix) for group in whole if group is not chosen]
    if rejected:
        remarks.append(
            f"It holds {len(whole)} Mixers: the averaged weights under {quote(chosen.prefix)} were taken, not those under "
            f"{' or '.join(rejected)}."
        )
    known = {name for group in whole for name in group.stored.values()}
    rest = [shorten(name, 80) for name in names if name not in known]
    if rest:
        remarks.append(
            f"Only the Mixer under {quote(chosen.prefix)} was read. Left out: {summarise(rest, limit=_NUM_SHOWN)}."
        )
    return Selection(taken, chosen.scheme, tuple(remarks))


def _refuse_twice(names: Iterable[str], *, where: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        bare = _WRAPPERS.sub("", name, count=1)
        if bare in seen:
            raise CheckpointError(
                f"{where}: {bare[:200]!r} occurs twice, as {seen[bare][:200]!r} and as {name[:200]!r}. "
                "Keep only one of the two models in the file."
            )
        seen[bare] = name
