"""Names of commands and options in other tools (timm, YOLO, fastai, ...), and what they are called here."""

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Commands"]

_COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("val", "validate", "test", "eval", "score"), "Use `allmlp evaluate CHECKPOINT DATA`."),
    **dict.fromkeys(("infer", "inference", "classify", "detect"), "Use `allmlp predict CHECKPOINT PHOTOS`."),
    **dict.fromkeys(("export", "save"), "`allmlp convert` writes the formats of timm and of the authors."),
    **dict.fromkeys(("serve", "server", "api"), "There is no server; in Python, use allmlp.Predictor in your own."),
    **dict.fromkeys(("fit", "learn"), "Use `allmlp finetune DATA`, or `allmlp train DATA`."),
    **dict.fromkeys(("resume", "continue"), "Use `allmlp train --resume RUN`."),
    **dict.fromkeys(("upload", "publish"), "Use `allmlp push CHECKPOINT OWNER/NAME`."),
    **dict.fromkeys(("list", "zoo", "weights"), "Use `allmlp models`."),
    "help": "Use `allmlp --help`, or `allmlp COMMAND --help`.",
    "version": "Use `allmlp --version`.",
}

_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("--lr", "--lr0", "--learning-rate"), "Use --set optimizer.learning_rate=RATE."),
    **dict.fromkeys(("--wd", "--weight-decay"), "Use --set optimizer.weight_decay=VALUE."),
    **dict.fromkeys(("--opt", "--optimizer"), "Use --set optimizer.name=adamw, sgd or muon."),
    "--momentum": "Use --set optimizer.momentum=VALUE.",
    **dict.fromkeys(("--warmup", "--warmup-epochs"), "Use --set schedule.warmup=FRACTION, of all steps."),
    **dict.fromkeys(("--freeze", "--freeze-backbone"), "Use --trained-blocks N of `allmlp finetune`; 0 trains "
    "only the classifier."),
    **dict.fromkeys(("--imgsz", "--img-size", "--img_size", "--input-size"), "Use --image-size N."),
    **dict.fromkeys(("--batch", "--bs"), "Use --batch-size N."),
    **dict.fromkeys(("--workers", "--num-workers"), "Use --set data.num_workers=N; by default there is one per CPU core."),
    **dict.fromkeys(("--data", "--data-dir", "--dataset"), "The data come without an option: allmlp COMMAND ... DATA."),
    **dict.fromkeys(("--model", "--weights", "--checkpoint", "--pretrained"), "`allmlp finetune` takes --from CHECKPOINT; "
    "other commands take the checkpoint first, without an option."),
    **dict.fromkeys(("--name", "--project", "--output", "--output-dir"), "Use --out PATH."),
    **dict.fromkeys(("--tta", "--augment"), "Use --flip, which averages each photo and its mirror image."),
    **dict.fromkeys(("--conf", "--threshold"), "Use --min-score S, from 0 to 1."),
    **dict.fromkeys(("--topk", "--top_k"), "Use --top-k N."),
    **dict.fromkeys(("--amp", "--half", "--fp16", "--bf16"), "Use --set precision=bfloat16."),
    **dict.fromkeys(("--num-classes", "--nc"), "The data decide the number of classes."),
    **dict.fromkeys(("--val-split", "--valid-pct"), "Use --set data.holdout=FRACTION."),
    **dict.fromkeys(("--gpu", "--gpus", "--cuda"), "Use --device cuda; for several GPUs, see docs/training.md."),
    "--cache": "Use --set data.storage=memory.",
}  # fmt: skip


class Command(TyperCommand):
    """A command that answers options of other tools, and takes --json for --format json."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; a usage error if one of them is an option of another tool."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for argument in args:
            name = argument.partition("=")[0]
            if name in _OPTIONS and name not in own:
                ctx.fail(f"No such option: {name}. {_OPTIONS[name]}")
        if "--format" in own:
            args = ["--format=json" if argument == "--json" else argument for argument in args]
        return super().parse_args(ctx, args)


class Commands(TyperGroup):
    """The program, which answers commands of other tools."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a usage error if it is one of another tool."""
        advice = _COMMANDS.get(args[0].lower())
        if advice is not None and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. {advice}")
        return super().resolve_command(ctx, args)
