"""Counts for Prometheus under TensorFlow Serving's names, so that its dashboards work.

Names of our own begin with `bladerunner_`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# Buckets of TensorFlow Serving: 33 of them, from 10 microseconds to some 20 minutes.
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))
_BATCHES = tuple(2**power for power in range(11))
_COUNTERS = {
    ":tensorflow:serving:request_count": (
        "The total number of requests.",
        ("model_name", "status"),
    ),
    ":tensorflow:cc:saved_model:load_attempt_count": (
        "The number of times a SavedModel was requested to be loaded.",
        ("model_path", "status"),
    ),
}  # fmt: skip


class Metrics(Collector):
    """Counts of one server. Any thread may count."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _COUNTERS}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._request = self._histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ("model_name", "API", "entrypoint"),
        )
        self._runtime = self._histogram(
            ":tensorflow:serving:runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            ("model_name", "API", "runtime"),
        )
        self._warm_up = self._histogram(
            ":tensorflow:serving:model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            ("model_path", "status"),
        )
        self._batch = self._histogram(
            "bladerunner_batch_rows", "Rows in one run of a model.", ("model_name",), _BATCHES
        )
        self.waiting = Gauge(
            "bladerunner_waiting_requests", "Requests that wait or run.", registry=self._registry
        )

    def _histogram(
        self, name: str, text: str, labels: Iterable[str], buckets: Iterable[float] = _MICROSECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self._registry)

    def request(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count an answered request, from its arrival to its answer.

        `api` is `Predict` over gRPC and `predict` over REST, as TensorFlow Serving has it;
        `entrypoint` `GRPC` or `REST`; `status` the name of the canonical code.
        """
        self._counts[":tensorflow:serving:request_count"][model, status] += 1
        if status == "OK":
            self._request.labels(model, api, entrypoint).observe(seconds * 1e6)

    def run(self, model: str, rows: int, seconds: float) -> None:
        """Count a run of a session, of one request or several."""
        self._runtime.labels(model, "Predict", "TF1").observe(seconds * 1e6)
        self._batch.labels(model).observe(rows)

    def load(self, path: str, good: bool) -> None:
        status = "success" if good else "fail"
        self._counts[":tensorflow:cc:saved_model:load_attempt_count"][path, status] += 1

    def warm_up(self, path: str, seconds: float) -> None:
        self._warm_up.labels(path, "OK").observe(seconds * 1e6)

    def collect(self) -> Iterable[Any]:
        """Yield the counters; those of prometheus-client would have `_total` in their names."""
        for name, (text, labels) in _COUNTERS.items():
            metric = Metric(name, text, "counter")
            for values, count in list(self._counts[name].items()):
                metric.add_sample(name, dict(zip(labels, values, strict=True)), count)
            yield metric

    def page(self) -> bytes:
        page = generate_latest(self._registry)
        page = re.sub(rb"(?m)^# (HELP|TYPE) \S+_created .*\n|^\S+_created[{ ].*\n", b"", page)
        return re.sub(rb"(?m)^(# (?:HELP|TYPE) :tensorflow\S+)_total ", rb"\1 ", page)
