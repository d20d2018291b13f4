"""Loading of a checkpoint from any source."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from allmlp.checkpoints.assumptions import assumed_preprocessing, unknown_origin
from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.description import PreprocessingChanges
from allmlp.checkpoints.formats.file_names import CONFIG_FILE
from allmlp.checkpoints.formats.native import read_native
from allmlp.checkpoints.formats.timm import ARCHITECTURES
from allmlp.checkpoints.formats.timm_config import TimmDescription, parse_timm_config
from allmlp.checkpoints.naming.infer_config import State, UnknownGridError, read_state
from allmlp.checkpoints.sources.catalog import CATALOG, fitting
from allmlp.checkpoints.sources.published import forget_published
from allmlp.checkpoints.sources.resolve import (
    AllmlpFolder,
    BareFile,
    PublishedFile,
    ResolvedSource,
    TimmFolder,
    resolve_source,
)
from allmlp.checkpoints.validation import check_finite
from allmlp.data import Preprocessing, label_names
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import quote
from allmlp.io.http_download import ReportProgress
from allmlp.io.path_problem import path_text
from allmlp.model import Gelu, MixerConfig

__all__ = ["load_checkpoint", "load_for_size"]

ImageSize = int | tuple[int, int]


def load_checkpoint(
    source: str | Path,
    *,
    image_size: ImageSize | None = None,
    gelu: Gelu | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: PreprocessingChanges | None = None,
) -> Checkpoint:
    """Load a Mixer from any source. The format is recognised by content, never by file name.

    What was assumed, what was left out of the file, and warnings about the weights are the `remarks` of the result.

    Args:
        source: a run folder (its best checkpoint); a checkpoint folder; a folder written by timm or transformers; a
            weight file: Google's .npz in either naming scheme, safetensors or .pth with timm's names or ours;
            "hf:OWNER/NAME" or "hf:OWNER/NAME@REVISION"; a name of `allmlp models` or of timm, such as "b16-i1k".
        image_size: (height, width) in pixels that the weights are for; required if the file does not state it and its
            tokens do not form a square. It does not convert the weights: `Checkpoint.at_resolution` does.
        gelu: overrides the GELU of the source, which is "tanh" for Google's files and "erf" for timm's.
        class_names: K names in the order of the logits; overrides the names of the source ("0", "1", ... if it has none).
        preprocessing: overrides the pre-processing of the source: a whole one, or a dictionary of the fields that change,
            such as {"mean": (0, 0, 0), "std": (1, 1, 1)}.

    Raises:
        CheckpointError: the source does not exist, is damaged, hostile or another model, its weights do not fit (lists
            every missing, unexpected and misshapen name), or its download failed. Nothing in a file is ever executed.
        ConfigError: an argument of the wrong type, or an invalid image size, GELU, class name or pre-processing.
    """
    if gelu not in (None, "tanh", "erf"):
        raise ConfigError(f"gelu is {gelu!r}; expected 'tanh' (the authors' code) or 'erf' (timm).")
    if class_names is not None:
        is_text = isinstance(class_names, str)
        if is_text or not all(isinstance(name, str) for name in class_names):
            raise ConfigError(f"class_names is {str(class_names)[:100]!r}; expected a list of names, one per class.")
    checkpoint = _read(resolve_source(_checked(source)), image_size, gelu)
    if gelu is not None:
        checkpoint = checkpoint.replace(config=dataclasses.replace(checkpoint.config, gelu=gelu))
    if class_names is not None:
        checkpoint = checkpoint.replace(class_names=tuple(class_names))
    return checkpoint if preprocessing is None else checkpoint.with_preprocessing(preprocessing)


def load_for_size(
    source: str | Path,
    image_size: tuple[int, int] | None,
    *,
    report_progress: ReportProgress | None = None,
) -> Checkpoint:
    """Load a Mixer from any source for use at `image_size`, which also resolves what a bare weight file leaves open.

    A bare weight file with the number of tokens of `image_size` is assumed to be for that size, square or not. Weights for
    any other size are returned as they are: `Checkpoint.at_resolution` converts them.

    Args:
        source: as for `load_checkpoint`.
        image_size: (height, width) in pixels; None if none was requested.
        report_progress: takes the number of bytes downloaded so far and the total.

    Raises:
        CheckpointError: `source` is not a usable checkpoint.
        ConfigError: the image size is invalid.
    """
    resolved = resolve_source(_checked(source), report_progress=report_progress)
    try:
        checkpoint = _read(resolved, None, None)
    except UnknownGridError:
        if image_size is None:
            raise
        checkpoint = _read(resolved, image_size, None)
    if image_size is None or image_size == checkpoint.config.image_size:
        return checkpoint
    if isinstance(resolved, BareFile) and _has_as_many_tokens(checkpoint.config, image_size):
        return _read(resolved, image_size, None).with_remarks(
            f"The file does not state its image size. Its {checkpoint.config.num_tokens:,} tokens are assumed to be those "
            f"of {image_size[0]} × {image_size[1]} pixels; without an image size, a square would be assumed."
        )
    return checkpoint


def _checked(source: object) -> str | Path:
    if isinstance(source, str | Path):
        return source
    if (path := path_text(source)) is not None:
        return Path(path)
    what = "a Checkpoint already" if isinstance(source, Checkpoint) else quote(source)
    raise ConfigError(
        f"The source of a checkpoint is {what}; expected a path, hf:OWNER/NAME or the name of a published Mixer, such as "
        "'b16-i1k'."
    )


def _has_as_many_tokens(config: MixerConfig, sides: tuple[int, int]) -> bool:
    """Whether images of these sides are split into as many tokens as those of `config`."""
    is_divisible = all(side % config.patch_size == 0 for side in sides)
    return is_divisible and math.prod(sides) == math.prod(config.image_size)


def _read(resolved: ResolvedSource, image_size: ImageSize | None, gelu: Gelu | None) -> Checkpoint:
    match resolved:
        case AllmlpFolder():
            checkpoint = read_native(resolved.folder, resolved.values)
            check_finite(checkpoint.weights, where=str(resolved.weights))
            _check_size(checkpoint.config, image_size, where=resolved.folder)
            return checkpoint
        case PublishedFile():
            return _published(resolved, image_size, gelu)
        case TimmFolder():
            return _timm(resolved, image_size, gelu)
        case BareFile():
            return _bare(resolved, image_size, gelu)


def _published(resolved: PublishedFile, image_size: ImageSize | None, gelu: Gelu | None) -> Checkpoint:
    published = resolved.published
    wanted = dataclasses.replace(published.config, gelu=gelu or published.config.gelu)
    _check_size(wanted, image_size, where=resolved.weights)
    try:
        state = _read_weights(resolved.weights, image_size=wanted.image_size, gelu=wanted.gelu)
        if state.config != wanted:
            raise CheckpointError(f"{resolved.weights}: its weights are for {state.config}, expected {wanted}.")
    except CheckpointError as error:
        advice = forget_published(published, resolved.weights)
        raise CheckpointError(f"{error}\nThis is not {published.name}. {advice}") from error
    names = _placeholders(wanted) if published.labels is None else label_names(published.labels)
    remarks = (*state.remarks, *([published.warning] if published.warning else []))
    return _checkpoint(state, published.preprocessing, names, resolved.evidence, remarks)


def _timm(resolved: TimmFolder, image_size: ImageSize | None, gelu: Gelu | None) -> Checkpoint:
    path = resolved.folder / CONFIG_FILE
    described = parse_timm_config(resolved.values, where=str(path))
    architecture = None if described.architecture is None else ARCHITECTURES.get(described.architecture)
    # timm builds the network for the image size in its configuration: the weights must fit that size, square or not.
    image_size = described.image_size if image_size is None else image_size
    state = _read_weights(resolved.weights, image_size=image_size, gelu=gelu)
    if described.num_classes is not None and described.num_classes != state.config.num_classes:
        raise CheckpointError(
            f"{path}: num_classes is {described.num_classes:,}, but the classifier in {resolved.weights.name} has "
            f"{state.config.num_classes:,} classes."
        )
    if architecture is not None and _dimensions(architecture) != _dimensions(state.config):
        raise CheckpointError(
            f"{path}: architecture is {described.architecture}, whose patch size, number of blocks and hidden width are "
            f"{_dimensions(architecture)}; those of the weights in {resolved.weights.name} are {_dimensions(state.config)}."
        )
    preprocessing, remark = described.preprocessing, ""
    if preprocessing is None:
        preprocessing, remark = assumed_preprocessing(state.config, state.scheme)
    preprocessing = dataclasses.replace(preprocessing, image_size=state.config.image_size)
    names, form = described.class_names, state.form
    if names is None and (names := _names_by_tag(described, state.config)) is not None:
        form += f"; class names from its tag {described.tag}"
    return _checkpoint(
        state,
        preprocessing,
        names or _placeholders(state.config),
        unknown_origin(resolved.evidence, state.config, form),
        (*state.remarks, *([remark] if remark else [])),
    )


def _read_weights(path: Path, *, image_size: ImageSize | None, gelu: Gelu | None) -> State:
    file = open_weights(path)
    return read_state(file.shapes, file.read, where=str(path), remark=file.remark, image_size=image_size, gelu=gelu)


def _dimensions(config: MixerConfig) -> tuple[int, int, int]:
    return config.patch_size, config.num_blocks, config.hidden_dim


def _bare(resolved: BareFile, image_size: ImageSize | None, gelu: Gelu | None) -> Checkpoint:
    state = _read_weights(resolved.weights, image_size=image_size, gelu=gelu)
    preprocessing, remark = assumed_preprocessing(state.config, state.scheme)
    source = unknown_origin(resolved.evidence, state.config, state.form)
    return _checkpoint(state, preprocessing, _placeholders(state.config), source, (*state.remarks, remark))


def _checkpoint(
    state: State, preprocessing: Preprocessing, names: Sequence[str], source: str, remarks: Sequence[str]
) -> Checkpoint:
    return Checkpoint(
        remarks=remarks,
        config=state.config,
        weights=state.weights,
        preprocessing=preprocessing,
        class_names=tuple(names),
        source=source,
    )


def _check_size(config: MixerConfig, image_size: ImageSize | None, *, where: Path) -> None:
    """Refuse weights for another image size than the requested one, and name the shapes that differ."""
    if image_size is None:
        return
    try:
        wanted = dataclasses.replace(config, image_size=cast("tuple[int, int]", image_size))  # an int is made a square
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if wanted.image_size == config.image_size:
        return
    height, width = wanted.image_size
    raise CheckpointError(
        f"{where}: these weights are for images of {config.image_size[0]} × {config.image_size[1]} pixels "
        f"({config.grid[0]} × {config.grid[1]} tokens), not {height} × {width} ({wanted.grid[0]} × {wanted.grid[1]}): "
        f"blocks.*.token_mixing.fc1.weight is {(config.tokens_mlp_dim, config.num_tokens)}, expected "
        f"{(config.tokens_mlp_dim, wanted.num_tokens)}. To convert them, use "
        f"load_checkpoint(...).at_resolution(({height}, {width})) or --image-size {height}x{width} of any command."
    )


def _placeholders(config: MixerConfig) -> tuple[str, ...]:
    return tuple(map(str, range(config.num_classes)))


def _names_by_tag(described: TimmDescription, config: MixerConfig) -> tuple[str, ...] | None:
    """Return the class names of weights published by timm, whose configurations imply them only by the tag.

    A fine-tuned network keeps the tag of the weights it was initialised from, so the shapes must match, too: if they differ,
    the classes may differ as well.
    """
    if described.architecture is None or described.tag is None:
        return None
    name = f"{described.architecture}.{described.tag}"  # without a tag, timm saves "mixer_s32_224.untrained"
    published = next((model for model in CATALOG.values() if model.timm_name == name), None)
    if published is None or published.labels is None or published.name not in fitting(config):
        return None
    return label_names(published.labels)
