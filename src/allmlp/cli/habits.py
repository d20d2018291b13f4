"""Names of commands and options in other tools (timm, YOLO, fastai, ...), and what they are called here."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from allmlp.io.display import quote

__all__ = ["Command", "Commands", "UsageError"]

_COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("val", "validate", "test", "eval", "score"), "Use `allmlp evaluate CHECKPOINT PHOTOS`."),
    **dict.fromkeys(("benchmark", "speed", "profile", "latency"), "Use `allmlp bench CHECKPOINT`."),
    **dict.fromkeys(("few-shot", "knn", "linear-probe"), "Use `allmlp evaluate CHECKPOINT PHOTOS --shots 1,5,10`."),
    **dict.fromkeys(("infer", "inference", "classify", "detect"), "Use `allmlp predict CHECKPOINT PHOTOS`."),
    **dict.fromkeys(("features", "feature-extract", "extract"), "Use `allmlp embed CHECKPOINT PHOTOS`."),
    **dict.fromkeys(("save",), "`allmlp convert` writes the formats of timm and of the authors."),
    **dict.fromkeys(
        ("onnx", "openvino", "tflite", "litert"), "Use `allmlp export CHECKPOINT --to onnx`, openvino, torch or litert."
    ),
    **dict.fromkeys(
        ("web", "browser", "wasm"), "Use `allmlp export CHECKPOINT --to web`, or `allmlp serve CHECKPOINT`."
    ),
    **dict.fromkeys(("server", "api", "app", "ui", "deploy"), "Use `allmlp serve CHECKPOINT`."),
    **dict.fromkeys(("explain", "gradcam", "saliency"), "Use `allmlp predict CHECKPOINT PHOTOS --explain FOLDER`."),
    **dict.fromkeys(("fit", "learn"), "Use `allmlp finetune PHOTOS`, or `allmlp train PHOTOS`."),
    **dict.fromkeys(("tune", "sweep", "lr-find"), "Use `allmlp finetune PHOTOS --lr-grid`."),
    **dict.fromkeys(("resume", "continue"), "Use `allmlp train --resume RUN`."),
    **dict.fromkeys(("upload", "publish"), "Use `allmlp push CHECKPOINT OWNER/NAME`."),
    **dict.fromkeys(("download", "datasets"), "Use `allmlp data NAME --download`."),
    **dict.fromkeys(("info", "summary", "show", "describe"), "Use `allmlp inspect CHECKPOINT`."),
    **dict.fromkeys(("list", "zoo", "weights"), "Use `allmlp models`."),
    **dict.fromkeys(
        ("plot", "plots", "visualize", "metrics", "confusion"), "Use `allmlp report RUN`; a run has RUN/report.html."
    ),
    **dict.fromkeys(
        ("dedupe", "dedup", "duplicates", "stats", "analyze", "analyse", "verify", "lint"), "Use `allmlp check PHOTOS`."
    ),
    **dict.fromkeys(("label", "labels", "relabel", "label-errors"), "Use `allmlp clean RUN`."),
    **dict.fromkeys(("sort", "organize", "organise", "group"), "Use `allmlp predict RUN PHOTOS --sort-into FOLDER`."),
    **dict.fromkeys(("similar", "nearest"), "Use `allmlp embed CHECKPOINT PHOTOS --nearest PHOTO`."),
    **dict.fromkeys(("diff", "versus"), "Use `allmlp compare RUN RUN`."),
    **dict.fromkeys(("settings", "cfg", "config", "hyp"), "Use `allmlp recipes`, and --set KEY=VALUE."),
    **dict.fromkeys(
        ("transfer", "pretrain"), "Use `allmlp finetune PHOTOS`, or `allmlp train PHOTOS` from random weights."
    ),
    **dict.fromkeys(("split", "kfold"), "allmlp divides the photos itself: `allmlp finetune PHOTOS --folds K`."),
    "help": "Use `allmlp --help`, or `allmlp COMMAND --help`.",
    "version": "Use `allmlp --version`.",
}

# Options that are not settings of a recipe. The first option in an answer has to be one of the command's own.
_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("--freeze", "--freeze-backbone", "--freeze-epochs", "--unfreeze"), "Use --trained-blocks N of "
    "`allmlp finetune`; 0 trains only the classifier."),
    **dict.fromkeys(("--imgsz", "--img-size", "--input-size", "--img", "--size", "--resize"), "Use --image-size N."),
    **dict.fromkeys(("--batch", "--bs", "-b"), "Use --batch-size N."),
    **dict.fromkeys(("--epoch", "-e"), "Use --epochs N."),
    **dict.fromkeys(("--topk", "--top", "-k"), "Use --top-k N."),
    **dict.fromkeys(("--data", "--data-dir", "--dataset", "--source"),
    "The photos come without an option: allmlp COMMAND ... PHOTOS."),
    **dict.fromkeys(("--model", "--weights", "--checkpoint", "--pretrained", "--initial-checkpoint", "--from"),
    "`allmlp finetune` takes --from CHECKPOINT; predict, evaluate, embed and inspect take the checkpoint first, "
    "without an option."),
    **dict.fromkeys(("--name", "--project", "--output", "--output-dir", "--save-dir", "--logdir", "--log-dir", "-o"),
    "Use --out PATH."),
    **dict.fromkeys(("--exist-ok", "--overwrite"), "Nothing is overwritten; give another --out PATH."),
    **dict.fromkeys(("--num-classes", "--nc", "--classes"), "The data decide the number of classes."),
    **dict.fromkeys(("--val", "--val-dir", "--train-split", "--val-set"),
    "Splits are folders of the data, such as train/ and val/."),
    **dict.fromkeys(("--gpu", "--gpus", "--cuda"), "Use --device cuda; for several GPUs, see docs/training.md."),
    **dict.fromkeys(("--multi-gpu", "--distributed"), "Start one process per GPU with torchrun; see docs/training.md."),
    **dict.fromkeys(("--cpu", "--no-cuda"), "Use --device cpu."),
    **dict.fromkeys(("--early-stopping", "--early-stop"), "Use --patience N."),
    **dict.fromkeys(("--kfold", "--k-fold", "--cv", "--cross-validation"), "Use --folds K."),
    **dict.fromkeys(("--config", "--cfg", "--hyp"), "Use --set KEY=VALUE; `--print-recipe` shows all keys."),
    **dict.fromkeys(("--csv", "--save", "--save-txt"), "Use --out FILE.csv, or --format csv."),
    **dict.fromkeys(("--tta", "--augment"), "Use --flip, which averages each photo and its mirror image."),
    **dict.fromkeys(("--conf", "--threshold"), "Use --min-score S, from 0 to 1."),
    "--cache": "Use --set data.storage=memory.",
}  # fmt: skip

UsageError: Any = typer.BadParameter.__base__  # click's, of which some versions of typer have their own copy
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


class Command(TyperCommand):
    """A command that answers options and arguments of other tools, and takes --json for --format json."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; a usage error if one of them is an option of another tool."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for before, argument in zip(["", *args], args, strict=False):
            name = argument.partition("=")[0]
            if name == "--json" and "--format" in own:
                continue
            if name.startswith("-") and name not in own and (advice := _advice_on(name, own)):
                ctx.fail(f"No such option: {name}. {advice}")
            if not before.startswith("-") and _ASSIGNMENT.fullmatch(argument) and not _exists(argument):
                settings = "; settings of a recipe as --set KEY=VALUE" if "--set" in own else ""
                ctx.fail(f"Unexpected argument {quote(argument)}. Options are written as --option value{settings}.")
        if "--format" in own:
            args = ["--format=json" if argument == "--json" else argument for argument in args]
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            if "unexpected extra argument" in error.message and "--set" in own:
                ctx.fail(
                    f"{error.message} PHOTOS is one folder or file; `allmlp finetune` takes weights as --from CHECKPOINT."
                )
            raise


class Commands(TyperGroup):
    """The program, which answers commands of other tools."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a usage error if it is one of another tool."""
        advice = _COMMANDS.get(args[0].lower().replace("_", "-"))
        if advice is not None and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. {advice}")
        return super().resolve_command(ctx, args)


def _advice_on(name: str, own: Collection[str]) -> str:
    """Return what an option is called here; "" if it is unknown, or like one of the command's `own`."""
    name = name.lower().replace("_", "-")
    if name in own:
        return ""
    if advice := _OPTIONS.get(name):
        named: Sequence[str] = re.findall(r"--[a-z-]+", advice)
        return advice if not named or named[0] in own or "`allmlp " in advice else ""
    if "--set" not in own or not name.startswith("--"):
        return ""
    from allmlp.config import keys_called
    from allmlp.recipes import load_recipe

    keys = keys_called(load_recipe("photos64"), name[2:])
    return f"Use --set {' or '.join(f'{key}=VALUE' for key in keys)}." if keys else ""


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False
