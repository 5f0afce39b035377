"""Serves metrics for Prometheus: ``prometheus://:9108``, then http://127.0.0.1:9108/metrics."""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.extra import load_extra
from tta.runtime.gaps import Gaps

LOOPBACK = "127.0.0.1"
PORT = 9108
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
LEVELS = {"ok": 0, "warn": 1, "drift": 2}


class Prometheus:
    """Counters, gauges and histograms by stream, in the text format of Prometheus.

    Names follow its practice: prefix, base units, ``_total``; labels are of few values (stream, metric,
    action). ``docs/sinks.md`` lists them. It listens on the loopback interface unless a host is named:
    ``prometheus://0.0.0.0:9108`` for every interface, without password and unencrypted.

    Args:
        address: ``//host:port``, either may be left out.

    Attributes:
        port: it listens on; 0 in the address takes a free one.

    Raises:
        TtaError: the address makes no sense, or is taken.
        MissingExtraError: prometheus_client is not installed.
    """

    def __init__(self, address: str = "") -> None:
        try:
            parsed = urlsplit(address if address.startswith("//") else f"//{address}")
            host, port = parsed.hostname or LOOPBACK, PORT if parsed.port is None else parsed.port
        except ValueError as error:
            raise TtaError(f"prometheus:{address} is no address: {error}") from None
        if parsed.path.strip("/"):
            raise TtaError(
                f"prometheus:{address} has a path: metrics are at /metrics, leave it out"
            )
        client = load_extra("metrics", "prometheus://", "prometheus_client")
        self.registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self.registry)
        self._make(client)
        try:
            self._server, self._thread = client.start_http_server(port, host, self.registry)
        except OSError as error:
            raise TtaError(
                f"nothing can listen on {host}:{port}: {error.strerror}; take another port, as in "
                f"prometheus://:{port + 1}"
            ) from None
        self.port = int(self._server.server_port)
        self._gaps = defaultdict[str, Gaps](Gaps)

    def _make(self, client: Any) -> None:
        def make(kind: str, name: str, text: str, *labels: str, **more: Any) -> Any:
            made = getattr(client, kind)
            return made(name, text, ("stream", *labels), registry=self.registry, **more)

        self._frames = make("Counter", "tta_frames", "Frames, by what became of them.", "result")
        self._dropped = make(
            "Counter", "tta_source_dropped_frames",
            "Frames that the source numbered and never handed over.",
        )  # fmt: skip
        self._inference = make(
            "Histogram", "tta_inference_seconds", "Time of one inference.", buckets=SECONDS
        )
        self._adapt = make(
            "Histogram", "tta_adapt_seconds", "Time of one round of adaptation.", buckets=SECONDS
        )
        self._decisions = make(
            "Counter", "tta_adapt_decisions", "Decisions of the governor.", "action"
        )
        self._step = make("Gauge", "tta_state_step", "Steps behind the state in force.")
        self._score = make("Gauge", "tta_drift_score", "Latest value of a drift metric.", "metric")
        self._level = make("Gauge", "tta_drift_level", "0 as the source, 1 warning, 2 drift.")
        self._events = make(
            "Counter", "tta_drift_events", "Shifts that were detected or judged.", "verdict"
        )
        self._entropy = make(
            "Gauge", "tta_prediction_entropy_nats", "Entropy of the newest prediction."
        )
        self._confidence = make(
            "Gauge", "tta_prediction_confidence_ratio", "Probability of the newest answer."
        )
        self._captured = make(
            "Gauge", "tta_frame_timestamp_seconds", "The newest frame's own monotonic time."
        )
        info = client.Info("tta_build", "Version that runs.", registry=self.registry)
        info.info({"version": version("tta-edge")})

    def write(self, result: Result) -> None:
        """Take in a result."""
        stream, frame, found, report = (
            result.stream, result.frame, result.prediction, result.report,
        )  # fmt: skip
        self._frames.labels(stream, "skipped" if found is None else "ok").inc()
        if missed := self._gaps[stream].before(frame):
            self._dropped.labels(stream).inc(missed)
        self._captured.labels(stream).set(frame.t_s)
        if found is not None:
            self._inference.labels(stream).observe(found.latency_s)
            self._entropy.labels(stream).set(found.entropy)
            self._confidence.labels(stream).set(found.confidence)
        self._level.labels(stream).set(LEVELS[report.level])
        for name, score in report.scores.items():
            self._score.labels(stream, name).set(score)
        if report.shift is not None:
            self._events.labels(stream, report.shift.verdict).inc()
        if (decision := report.decision) is not None:
            self._decisions.labels(stream, decision.action).inc()
            self._step.labels(stream).set(decision.step)
            if (took_ms := decision.figures.get("adapt_ms")) is not None:
                self._adapt.labels(stream).observe(took_ms / 1e3)

    def close(self) -> None:
        """Stop serving; a second time does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
