"""What a channel of alerts talks to, in tests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Peer:
    """An HTTP server.

    Attributes:
        answers: (status, headers) for the next requests; then 200, or 503 while it is `down`.
        seen: (path, headers, body) of every request.
        taken: bodies of those that were answered with 200.
    """

    def __init__(self):
        peer = self
        self.seen: list[Any] = []
        self.answers: list[Any] = []
        self.taken: list[bytes] = []
        self.down = False

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer.seen.append((self.path, dict(self.headers), body))
                status, headers = peer.answers.pop(0) if peer.answers else (503 if peer.down else 200, {})
                if status == 200:
                    peer.taken.append(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
