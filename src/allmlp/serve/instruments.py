"""`Instruments`: what a server counts, in Prometheus' format; with several workers, their sums."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "SHARED_FOLDER", "Instruments"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus-client finds the folder that several workers share."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PHOTOS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Instruments:
    """Counters, gauges and histograms of one app. Any thread may use them."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        names = ("route", "status")
        self.requests = Counter("allmlp_requests", "Answered requests.", names, registry=registry)
        self.request_seconds = Histogram(
            "allmlp_request_seconds", "From headers to answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.photos = Counter(
            "allmlp_photos", "Photos by outcome: ok, or the code of an error.", ("outcome",), registry=registry
        )
        self.refused = Counter("allmlp_refused", "Requests refused because the queue was full.", registry=registry)
        self.dropped = Counter("allmlp_dropped", "Photos that nobody waited for any more.", registry=registry)
        self.waiting = Gauge(
            "allmlp_waiting_photos",
            "Photos accepted and not yet answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batch_photos = Histogram("allmlp_batch_photos", "Photos per batch.", buckets=_PHOTOS, registry=registry)
        self.compute_seconds = Histogram(
            "allmlp_compute_seconds", "Time of the model per batch.", buckets=_SECONDS, registry=registry
        )

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        folder = os.environ.get(SHARED_FOLDER)
        if folder and Path(folder).is_dir():
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
