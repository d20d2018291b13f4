"""From files to batches. Knows no model; torch is imported when the first batch is augmented, not before."""

from typing import TYPE_CHECKING, Any

from allmlp.data.augmentation.config import (
    NUM_COLOR_DRAWS,
    NUM_CROP_DRAWS,
    Augmentation,
    Crops,
    Mix,
    draw_colors,
    draw_crops,
    draw_mix,
)
from allmlp.data.augmentation.rand_augment import NUM_DISTORTION_DRAWS, Distortions, distort, draw_distortions
from allmlp.data.augmentation.random_erasing import NUM_ERASING_DRAWS, Erasures, draw_erasures
from allmlp.data.dataset import ImageDataset, Split, hold_out, split_named
from allmlp.data.decoding.check_photos import check_photos
from allmlp.data.decoding.decode import MAX_PHOTO_BYTES, decode
from allmlp.data.fingerprint import fingerprint
from allmlp.data.label_sets import read_label_sets
from allmlp.data.loading.training_images import (
    Batch,
    RawBatch,
    TrainingOrder,
    TrainingPhotos,
    evaluation_batches,
    resized_images,
    split_batches,
)
from allmlp.data.open_dataset import DATASETS, PublicDataset, is_downloaded, lasting_source, named_folder, open_dataset
from allmlp.data.preprocessing import Preprocessing
from allmlp.data.public.download import download_dataset
from allmlp.data.public.imagenet_classes import label_names, synsets_of
from allmlp.data.sampling.stateless_random import sample_keys, uniform
from allmlp.data.sources.file_reader import FileReader

if TYPE_CHECKING:
    from allmlp.data.augmentation.warp import (
        apply_on_uint8,
        color_jitter,
        erase_images,
        mix_images,
        mix_labels,
        resample,
    )
from allmlp.data.sources.folder import list_folder
from allmlp.io.display import escape, summarise
from allmlp.io.ordered_map import prefetch

__all__ = [
    "DATASETS",
    "MAX_PHOTO_BYTES",
    "NUM_COLOR_DRAWS",
    "NUM_CROP_DRAWS",
    "NUM_DISTORTION_DRAWS",
    "NUM_ERASING_DRAWS",
    "Augmentation",
    "Batch",
    "Crops",
    "Distortions",
    "Erasures",
    "FileReader",
    "ImageDataset",
    "Mix",
    "Preprocessing",
    "PublicDataset",
    "RawBatch",
    "Split",
    "TrainingOrder",
    "TrainingPhotos",
    "apply_on_uint8",
    "check_photos",
    "color_jitter",
    "decode",
    "distort",
    "download_dataset",
    "draw_colors",
    "draw_crops",
    "draw_distortions",
    "draw_erasures",
    "draw_mix",
    "erase_images",
    "escape",
    "evaluation_batches",
    "fingerprint",
    "hold_out",
    "is_downloaded",
    "label_names",
    "lasting_source",
    "list_folder",
    "mix_images",
    "mix_labels",
    "named_folder",
    "open_dataset",
    "prefetch",
    "read_label_sets",
    "resample",
    "resized_images",
    "sample_keys",
    "split_batches",
    "split_named",
    "summarise",
    "synsets_of",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name in ("erase_images", "mix_images", "mix_labels", "apply_on_uint8", "color_jitter", "resample"):
        from allmlp.data.augmentation import warp

        return getattr(warp, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
