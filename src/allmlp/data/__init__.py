"""Data sets, decoding, augmentation and batches: from files to arrays, independent of the model.

Each name loads its module on first use: a prediction needs few of them, and torch only the first augmented batch.
Safe to change: `opening` (of a data set), `preprocessing`, `bad_photos` (leaving them out), and sources/, public/, decoding/,
augmentation/, sampling/, loading/, quality/.
Invariants: the single decoder and the single `Preprocessing`; they give training, evaluation and prediction the same pixels.
To add one: see the sub-packages; the names that other packages may use are listed in `__all__`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allmlp.data.augmentation.config import Augmentation
    from allmlp.data.augmentation.crop_images import CropBatch, CropImages
    from allmlp.data.augmentation.pipeline import AugmentationPipeline
    from allmlp.data.bad_photos import BadPhotos, is_skipping, read_skipped, skip_bad_photos, skip_photos, write_skipped
    from allmlp.data.cleaning.choices import CHOICE_COLUMNS, LabelError, read_choices, write_label_errors
    from allmlp.data.cleaning.moves import carry_out, new_log_path, undo
    from allmlp.data.cleaning.plan import PhotoMove, photo_path, plan_moves, removed_folder
    from allmlp.data.content import fingerprint
    from allmlp.data.dataset import ImageDataset, Split, default_split
    from allmlp.data.decoding.check_photos import check_photos
    from allmlp.data.decoding.decode import decode
    from allmlp.data.decoding.limits import DEFAULT_MAX_MEGAPIXELS, MAX_PHOTO_BYTES, max_pixels, set_max_megapixels
    from allmlp.data.decoding.pixels import to_pixels
    from allmlp.data.decoding.reasons import PhotoError, PhotoFault, ShortageError, raise_shortage
    from allmlp.data.digests import photo_digest, with_digests
    from allmlp.data.label_sets import read_label_sets
    from allmlp.data.laws import Law, changed_settings, scaled_size
    from allmlp.data.loading.evaluation_batches import Batch, evaluation_batches, resized_images, split_batches
    from allmlp.data.loading.training_images import RawBatch, TrainingImages
    from allmlp.data.opening import command_options, open_dataset
    from allmlp.data.preprocessing import Preparation, Preprocessing
    from allmlp.data.public.download import download_dataset
    from allmlp.data.public.imagenet_classes import NUM_IMAGENET_CLASSES, label_names, synsets_of
    from allmlp.data.public.registry import DATASETS, absolute_source, is_downloaded, named_folder
    from allmlp.data.quality.check import check
    from allmlp.data.quality.duplicates import copy_notes
    from allmlp.data.quality.report import Finding, QualityReport
    from allmlp.data.sampling.folds import NOT_HELD_OUT, fold_datasets, fold_of_photos, notes_on_folds
    from allmlp.data.sampling.holdout import held_out_as, hold_out
    from allmlp.data.sampling.joined import join_splits
    from allmlp.data.sampling.order import TrainingOrder
    from allmlp.data.sampling.stateless_random import sample_keys, uniform
    from allmlp.data.sources.file_reader import FileReader
    from allmlp.data.sources.folder import list_folder, unnamed_photos
    from allmlp.data.sources.folder_layout import Listing, unread_photos
    from allmlp.data.sources.tar_shards.remote_shards import is_copy_whole, shard_at
    from allmlp.data.sources.tar_shards.stored_photos import TarPhoto, stored_photos, tar_files_in
    from allmlp.data.sources.tar_shards.writing_shards import write_shards
    from allmlp.data.split_names import split_named
    from allmlp.data.thumbnail import encode_thumbnail, thumbnail_kind
    from allmlp.data.unlabelled import NumberedPhotos, listed_files, open_numbered_photos

__all__ = [
    "CHOICE_COLUMNS",
    "DATASETS",
    "DEFAULT_MAX_MEGAPIXELS",
    "MAX_PHOTO_BYTES",
    "NOT_HELD_OUT",
    "NUM_IMAGENET_CLASSES",
    "Augmentation",
    "AugmentationPipeline",
    "BadPhotos",
    "Batch",
    "CropBatch",
    "CropImages",
    "FileReader",
    "Finding",
    "ImageDataset",
    "LabelError",
    "Law",
    "Listing",
    "NumberedPhotos",
    "PhotoError",
    "PhotoFault",
    "PhotoMove",
    "Preparation",
    "Preprocessing",
    "QualityReport",
    "RawBatch",
    "ShortageError",
    "Split",
    "TarPhoto",
    "TrainingImages",
    "TrainingOrder",
    "absolute_source",
    "carry_out",
    "changed_settings",
    "check",
    "check_photos",
    "command_options",
    "copy_notes",
    "decode",
    "default_split",
    "download_dataset",
    "encode_thumbnail",
    "evaluation_batches",
    "fingerprint",
    "fold_datasets",
    "fold_of_photos",
    "held_out_as",
    "hold_out",
    "is_copy_whole",
    "is_downloaded",
    "is_skipping",
    "join_splits",
    "label_names",
    "list_folder",
    "listed_files",
    "max_pixels",
    "named_folder",
    "new_log_path",
    "notes_on_folds",
    "open_dataset",
    "open_numbered_photos",
    "photo_digest",
    "photo_path",
    "plan_moves",
    "raise_shortage",
    "read_choices",
    "read_label_sets",
    "read_skipped",
    "removed_folder",
    "resized_images",
    "sample_keys",
    "scaled_size",
    "set_max_megapixels",
    "shard_at",
    "skip_bad_photos",
    "skip_photos",
    "split_batches",
    "split_named",
    "stored_photos",
    "synsets_of",
    "tar_files_in",
    "thumbnail_kind",
    "to_pixels",
    "undo",
    "uniform",
    "unnamed_photos",
    "unread_photos",
    "with_digests",
    "write_label_errors",
    "write_shards",
    "write_skipped",
]

_MODULES = {
    "augmentation.config": ("Augmentation",),
    "augmentation.crop_images": ("CropBatch", "CropImages"),
    "augmentation.pipeline": ("AugmentationPipeline",),
    "bad_photos": (
        "BadPhotos",
        "is_skipping",
        "read_skipped",
        "skip_bad_photos",
        "skip_photos",
        "write_skipped",
    ),
    "cleaning.choices": (
        "CHOICE_COLUMNS",
        "LabelError",
        "read_choices",
        "write_label_errors",
    ),
    "cleaning.moves": (
        "carry_out",
        "new_log_path",
        "undo",
    ),
    "cleaning.plan": (
        "PhotoMove",
        "photo_path",
        "plan_moves",
        "removed_folder",
    ),
    "dataset": (
        "ImageDataset",
        "Split",
        "default_split",
    ),
    "decoding.check_photos": ("check_photos",),
    "decoding.decode": ("decode",),
    "decoding.limits": (
        "DEFAULT_MAX_MEGAPIXELS",
        "MAX_PHOTO_BYTES",
        "max_pixels",
        "set_max_megapixels",
    ),
    "decoding.pixels": ("to_pixels",),
    "decoding.reasons": ("PhotoError", "PhotoFault", "ShortageError", "raise_shortage"),
    "content": ("fingerprint",),
    "label_sets": ("read_label_sets",),
    "laws": (
        "Law",
        "changed_settings",
        "scaled_size",
    ),
    "loading.evaluation_batches": (
        "Batch",
        "evaluation_batches",
        "resized_images",
        "split_batches",
    ),
    "loading.training_images": (
        "RawBatch",
        "TrainingImages",
    ),
    "opening": (
        "command_options",
        "open_dataset",
    ),
    "digests": (
        "photo_digest",
        "with_digests",
    ),
    "preprocessing": ("Preparation", "Preprocessing"),
    "public.download": ("download_dataset",),
    "public.imagenet_classes": (
        "NUM_IMAGENET_CLASSES",
        "label_names",
        "synsets_of",
    ),
    "public.registry": (
        "DATASETS",
        "absolute_source",
        "is_downloaded",
        "named_folder",
    ),
    "quality.check": ("check",),
    "quality.duplicates": ("copy_notes",),
    "quality.report": (
        "Finding",
        "QualityReport",
    ),
    "sampling.folds": (
        "NOT_HELD_OUT",
        "fold_datasets",
        "fold_of_photos",
        "notes_on_folds",
    ),
    "sampling.holdout": (
        "held_out_as",
        "hold_out",
    ),
    "sampling.joined": ("join_splits",),
    "sampling.order": ("TrainingOrder",),
    "sampling.stateless_random": (
        "sample_keys",
        "uniform",
    ),
    "sources.file_reader": ("FileReader",),
    "sources.folder": (
        "list_folder",
        "unnamed_photos",
    ),
    "sources.folder_layout": ("Listing", "unread_photos"),
    "sources.tar_shards.remote_shards": ("is_copy_whole", "shard_at"),
    "sources.tar_shards.stored_photos": (
        "TarPhoto",
        "stored_photos",
        "tar_files_in",
    ),
    "sources.tar_shards.writing_shards": ("write_shards",),
    "unlabelled": (
        "NumberedPhotos",
        "listed_files",
        "open_numbered_photos",
    ),
    "split_names": ("split_named",),
    "thumbnail": (
        "encode_thumbnail",
        "thumbnail_kind",
    ),
}
# A module must not share its name with one of these: Python would put the module in its place when it is loaded.
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOMES[name]), name)
    return value
