"""The command `allmlp serve`."""

from typing import Annotated

import typer

from allmlp.cli.arguments.checkpoint import BackendOption, ModelArgument, PrecisionOption
from allmlp.cli.arguments.photos import MaxMegapixelsOption
from allmlp.cli.console import DeviceOption, note

__all__ = ["serve"]

_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    checkpoint: ModelArgument,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes, each with the model; the cores are divided.")
    ] = 1,
    max_batch: Annotated[
        int, typer.Option(min=1, max=1024, help="Photos computed together; never affects an answer.")
    ] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="Milliseconds that a batch waits for photos being decoded.")
    ] = 2.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Photos accepted and not answered; beyond it, 503.")] = 256,
    max_photos: Annotated[
        int | None, typer.Option(min=1, help="Photos of one request.", show_default="64, at most --max-queue")
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, max=1000, help="Megabytes of one request.")] = 32,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds until an answer; beyond it, 504.")] = 30.0,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Ask for a key: that in the environment variable NAME, or several, separated by commas.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    max_megapixels: MaxMegapixelsOption = None,
) -> None:
    """Serve a model: a page to try photos on, and HTTP for programs.

    \b
    Examples:
      allmlp serve runs/mine
      allmlp serve mine.onnx --host 0.0.0.0 --workers 4 --api-key-env MY_KEY
      curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000/predict

    Ends on SIGTERM or Ctrl-C, after it has answered what it accepted.
    """
    from allmlp.serve import ServeOptions, check_extra, keys_of_variable

    check_extra()
    keys = () if api_key_env is None else keys_of_variable(api_key_env)
    options = ServeOptions(
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        max_photos=min(ServeOptions.max_photos, max_queue) if max_photos is None else max_photos,
        max_upload_mb=max_upload_mb,
        timeout_s=timeout,
        api_keys=keys,
    )
    if host not in _LOCAL and not keys:
        note("Without --api-key-env, anyone who reaches this address may use the model.")
    from allmlp.serve import serve as run_server

    run_server(
        checkpoint,
        host=host,
        port=port,
        workers=workers,
        backend=backend,
        device=device,
        precision=precision,
        max_megapixels=max_megapixels,
        options=options,
        report=note,
    )
