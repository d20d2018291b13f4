"""Any file -> Checkpoint -> our file, and others'."""

from allmlp.checkpoints.catalog import CATALOG, PublishedModel
from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.download import is_cached
from allmlp.checkpoints.formats import FORMATS, Format
from allmlp.checkpoints.hub import check_upload, fetch_card, upload_folder
from allmlp.checkpoints.load import load_checkpoint, load_for_size
from allmlp.checkpoints.model_card import CARD_MARK, model_card_text
from allmlp.checkpoints.native import save_checkpoint
from allmlp.checkpoints.places import STARTER

__all__ = [
    "CARD_MARK",
    "CATALOG",
    "FORMATS",
    "STARTER",
    "Checkpoint",
    "Format",
    "PublishedModel",
    "check_upload",
    "fetch_card",
    "is_cached",
    "load_checkpoint",
    "load_for_size",
    "model_card_text",
    "save_checkpoint",
    "upload_folder",
]
