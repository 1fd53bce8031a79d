"""What a service shows of itself on one port: `/metrics`, `/healthz` and `/readyz`."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from chargeline.runtime.health import Health
from chargeline.runtime.lag import Lag
from chargeline.runtime.metrics import CONTENT_TYPE, Metric, Metrics

_LOOK_S = 5.0  # a question to each peer: often enough for a probe, too rare to cost anything
_CLOSE_S = 12.0  # a question that is under way may take a client's whole time limit


class Telemetry:
    """Metrics and health of one process, its port, and the thread that looks after its peers."""

    def __init__(self, step_s_max: float) -> None:
        self.metrics = Metrics()
        self.health = Health(step_s_max)
        self.lag = Lag(self.metrics)
        self._stop = threading.Event()
        self._watching: threading.Thread | None = None
        self._server: ThreadingHTTPServer | None = None

    def serve(self, host: str, port: int) -> str:
        """Answer on this port (0: a free one) from now on; the address."""
        telemetry = self

        class Handler(_Handler):
            def answer(self) -> tuple[int, str, bytes]:
                return telemetry.answer(self.path)

        self._server = ThreadingHTTPServer((host, port), Handler)
        threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True).start()
        return f"http://{host}:{self._server.server_address[1]}"

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """(status, content type, body) for a path."""
        if path == "/metrics":
            return 200, CONTENT_TYPE, self.metrics.exposition()
        if path == "/healthz":
            stuck = self.health.stuck()
            return _as_json(200 if not stuck else 503, {"alive": not stuck, "silent_s": stuck})
        if path == "/readyz":
            waiting = self.health.waiting()
            return _as_json(200 if not waiting else 503, {"ready": not waiting, "waiting": waiting})
        return _as_json(404, {"paths": ["/metrics", "/healthz", "/readyz"]})

    def watch(self, peers: Mapping[str, Callable[[], None]]) -> None:
        """Ask every peer now and then; one that raises makes the process not ready until it does not."""
        for peer in peers:
            self.health.wait_for(peer, "not asked yet")

        def look() -> None:
            while True:
                for peer, ask in peers.items():
                    try:
                        ask()
                    except Exception as error:  # noqa: BLE001 - whatever it is, the peer cannot be worked with
                        self.health.wait_for(peer, str(error))
                    else:
                        self.health.go(peer)
                if self._stop.wait(_LOOK_S):
                    return

        self._watching = threading.Thread(target=look, name="peers", daemon=True)
        self._watching.start()

    def failed(self, error: Exception) -> None:
        """Count an error after which the same call is made again; adapters say whose it is."""
        self.metrics.add(Metric.ERRORS, peer=getattr(error, "peer", "kafka"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._stop.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._watching is not None:
            self._watching.join(_CLOSE_S)


class _Handler(BaseHTTPRequestHandler):
    """GET only, and nothing in the log."""

    timeout = 10.0

    def answer(self) -> tuple[int, str, bytes]:
        raise NotImplementedError

    def do_GET(self) -> None:
        status, kind, body = self.answer()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Requests are not logged."""


def _as_json(status: int, value: object) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(value).encode() + b"\n"
