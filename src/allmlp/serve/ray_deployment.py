"""`ray_app`: the app of a model on the machines of a Ray cluster, as replicas that Ray Serve starts, balances and replaces."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from allmlp.data import set_max_megapixels
from allmlp.errors import MissingExtraError
from allmlp.serve.application import app
from allmlp.serve.options import ServeOptions, keys_of_variable

__all__ = ["RaySettings", "ray_app"]

_RETRY_AFTER_S = 1


class RaySettings(BaseModel):
    """What `serve run allmlp.serve:ray_app KEY=VALUE ...` and the `args` of a configuration file may set.

    Attributes:
        source: what `open_model` takes; a path must exist on all machines.
        backend: as for `open_model`, like `device` and `precision`.
        device: the compute device.
        precision: of the matrix products.
        max_megapixels: the largest size of a photo; None leaves it as it is.
        api_key_env: the environment variable of the replicas that has the keys; None accepts requests without.
        num_replicas: the number of replicas; with `max_replicas`, the fewest.
        max_replicas: the most replicas, between which and `num_replicas` Ray chooses by the load; None keeps the number.
        target_ongoing_requests: the requests per replica that Ray then aims at; None: half of `max_ongoing_requests`.
        max_ongoing_requests: the requests that a replica has at once; others wait outside of it.
        max_queued_requests: the requests that wait for a replica, per proxy. Beyond it: 503 at once.
        num_cpus: the processors of a replica, and its number of threads unless OMP_NUM_THREADS is set.
        num_gpus: the GPUs of a replica.
        max_batch: as in `ServeOptions`, like the following; for each replica.
        max_wait_ms: milliseconds that a batch waits for photos which are being decoded.
        max_queue: photos that were accepted and not yet answered.
        max_photos: photos of one request.
        max_upload_mb: megabytes of one request's body.
        timeout_s: seconds from a complete request to its answer.
        body_timeout_s: seconds that a client has to send its body.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    max_megapixels: int | None = None
    api_key_env: str | None = None
    num_replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1)
    target_ongoing_requests: float | None = Field(None, gt=0)
    max_ongoing_requests: int = Field(64, ge=1)
    max_queued_requests: int = Field(256, ge=1)
    num_cpus: float = Field(1, ge=0)
    num_gpus: float = Field(0, ge=0)
    max_batch: int = ServeOptions.max_batch
    max_wait_ms: float = ServeOptions.max_wait_ms
    max_queue: int = ServeOptions.max_queue
    max_photos: int = ServeOptions.max_photos
    max_upload_mb: int = ServeOptions.max_upload_mb
    timeout_s: float = ServeOptions.timeout_s
    body_timeout_s: float = ServeOptions.body_timeout_s

    def limits(self, api_keys: tuple[str, ...] = ()) -> ServeOptions:
        """Return the limits of each replica. Raises ConfigError for a value out of its range."""
        names = {each.name for each in dataclasses.fields(ServeOptions)} & type(self).model_fields.keys()
        return ServeOptions(**{name: getattr(self, name) for name in names}, api_keys=api_keys)


def ray_app(settings: RaySettings) -> Any:
    """Return the application of a model for Ray Serve: for `serve run`, a configuration file, or `ray.serve.run`.

    Each replica opens the model and answers as `allmlp serve` does. Ray's proxies take the requests.

    Raises:
        ConfigError: a limit out of its range.
        MissingExtraError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError("Replicas on Ray need ray[serve]: pip install 'allmlp[serve,ray-serve]'") from error
    limits = settings.limits()  # here, so that a wrong value is reported at once, not in a replica's log
    path = Path(settings.source)
    if path.exists():  # relative to the folder of the command, in which no replica runs
        settings = settings.model_copy(update={"source": str(path.absolute())})

    def build() -> ASGIApp:
        return _app_of_replica(settings)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="allmlp",
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        backpressure_config={"retry_after_s": _RETRY_AFTER_S},
        graceful_shutdown_timeout_s=limits.timeout_s + limits.body_timeout_s,
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        **_scale(settings),
    )
    return deployment.bind()


def _scale(settings: RaySettings) -> dict[str, Any]:
    if settings.max_replicas is None:
        return {"num_replicas": settings.num_replicas}
    target = settings.target_ongoing_requests or max(1.0, settings.max_ongoing_requests / 2)
    bounds = {"min_replicas": settings.num_replicas, "max_replicas": settings.max_replicas}
    return {"autoscaling_config": {**bounds, "target_ongoing_requests": target}}


def _app_of_replica(settings: RaySettings) -> ASGIApp:
    """Open the model in the process of a replica."""
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # malformed forms are no events of a server
    if settings.max_megapixels is not None:
        set_max_megapixels(settings.max_megapixels)
    keys = () if settings.api_key_env is None else keys_of_variable(settings.api_key_env)
    return app(
        settings.source,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        options=settings.limits(keys),
    )
