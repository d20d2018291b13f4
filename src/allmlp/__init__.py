"""Image classification for your own photos with MLP-Mixer: train a model, evaluate it, use it.

Public names are loaded on first use, so that `import allmlp` is instant and does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint, ModelDescription, PushResult, load_checkpoint, push, save_checkpoint
    from allmlp.data import Preprocessing, QualityReport, check, open_dataset
    from allmlp.errors import (
        AllmlpError,
        CheckFailedError,
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        MissingExtraError,
    )
    from allmlp.evaluation import (
        Evaluation,
        ExportVerification,
        FewShotEvaluation,
        evaluate,
        evaluate_few_shot,
        fit_unknown,
        verify_export,
    )
    from allmlp.explanations import Explainer, Explanation, WeightAnalysis, analyse_weights, explain, overlay
    from allmlp.inference import Embedder, Predictor, RunnableModel, open_model
    from allmlp.metrics import FewShotOptions, Metrics
    from allmlp.model import VARIANTS, MixerConfig, MixerTemplate, MlpMixer, create
    from allmlp.quantisation import export
    from allmlp.recipes import finetune, train
    from allmlp.report import LabelErrors, draw_weights
    from allmlp.training import (
        CleanedPhotos,
        Recipe,
        TrainResult,
        clean_photos,
        compare_runs,
        find_label_errors,
        report_run,
        undo_cleaning,
    )

__version__ = "0.1.0"

_MODULES = {
    "AllmlpError": "allmlp.errors",
    "CheckFailedError": "allmlp.errors",
    "Checkpoint": "allmlp.checkpoints",
    "CheckpointError": "allmlp.errors",
    "CleanedPhotos": "allmlp.training",
    "ConfigError": "allmlp.errors",
    "DataError": "allmlp.errors",
    "DivergedError": "allmlp.errors",
    "Embedder": "allmlp.inference",
    "Evaluation": "allmlp.evaluation",
    "Explainer": "allmlp.explanations",
    "Explanation": "allmlp.explanations",
    "ExportVerification": "allmlp.evaluation",
    "FewShotEvaluation": "allmlp.evaluation",
    "FewShotOptions": "allmlp.metrics",
    "LabelErrors": "allmlp.report",
    "Metrics": "allmlp.metrics",
    "MissingExtraError": "allmlp.errors",
    "MixerConfig": "allmlp.model",
    "MixerTemplate": "allmlp.model",
    "MlpMixer": "allmlp.model",
    "ModelDescription": "allmlp.checkpoints",
    "Predictor": "allmlp.inference",
    "Preprocessing": "allmlp.data",
    "PushResult": "allmlp.checkpoints",
    "QualityReport": "allmlp.data",
    "Recipe": "allmlp.training",
    "RunnableModel": "allmlp.inference",
    "TrainResult": "allmlp.training",
    "VARIANTS": "allmlp.model",
    "WeightAnalysis": "allmlp.explanations",
    "analyse_weights": "allmlp.explanations",
    "check": "allmlp.data",
    "clean_photos": "allmlp.training",
    "compare_runs": "allmlp.training",
    "create": "allmlp.model",
    "draw_weights": "allmlp.report",
    "evaluate": "allmlp.evaluation",
    "evaluate_few_shot": "allmlp.evaluation",
    "explain": "allmlp.explanations",
    "export": "allmlp.quantisation",
    "find_label_errors": "allmlp.training",
    "finetune": "allmlp.recipes",
    "fit_unknown": "allmlp.evaluation",
    "load_checkpoint": "allmlp.checkpoints",
    "open_dataset": "allmlp.data",
    "open_model": "allmlp.inference",
    "overlay": "allmlp.explanations",
    "push": "allmlp.checkpoints",
    "report_run": "allmlp.training",
    "save_checkpoint": "allmlp.checkpoints",
    "train": "allmlp.recipes",
    "undo_cleaning": "allmlp.training",
    "verify_export": "allmlp.evaluation",
}

__all__ = [
    "VARIANTS",
    "AllmlpError",
    "CheckFailedError",
    "Checkpoint",
    "CheckpointError",
    "CleanedPhotos",
    "ConfigError",
    "DataError",
    "DivergedError",
    "Embedder",
    "Evaluation",
    "Explainer",
    "Explanation",
    "ExportVerification",
    "FewShotEvaluation",
    "FewShotOptions",
    "LabelErrors",
    "Metrics",
    "MissingExtraError",
    "MixerConfig",
    "MixerTemplate",
    "MlpMixer",
    "ModelDescription",
    "Predictor",
    "Preprocessing",
    "PushResult",
    "QualityReport",
    "Recipe",
    "RunnableModel",
    "TrainResult",
    "WeightAnalysis",
    "__version__",
    "analyse_weights",
    "check",
    "clean_photos",
    "compare_runs",
    "create",
    "draw_weights",
    "evaluate",
    "evaluate_few_shot",
    "explain",
    "export",
    "find_label_errors",
    "finetune",
    "fit_unknown",
    "load_checkpoint",
    "open_dataset",
    "open_model",
    "overlay",
    "push",
    "report_run",
    "save_checkpoint",
    "train",
    "undo_cleaning",
    "verify_export",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'allmlp' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
