"""The process that serves the live page, the state that it shows, and three requests."""

import contextlib
import socket
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path

from swarmsim.errors import StopRequested, WaitTimeout
from swarmsim.messaging.process_context import PROCESS

PAUSE, RESUME, STOP = REQUESTS = "pause", "resume", "stop"
PRESENT_SECONDS = 2.0  # a viewer is present for this long after asking for the state
LAST_STATE_SECONDS = 5.0  # the server waits this long for a present viewer to get the last state

# Any web page can make a browser send requests here, but not with a custom header, nor with this host's name.
HEADER = "X-Swarmsim"
HOSTS = "127.0.0.1", "localhost"


def serve_page(listener: socket.socket, folder: Path, requests: Connection) -> None:
    """Serve the page at `listener` until the launcher asks to stop, and a present viewer has got the last state.

    Args:
        folder: has `state.json`, which the launcher replaces when something changes.
        requests: gets what a viewer requests.
    """
    server = PageServer(listener, folder, requests)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    PROCESS.report_ready()
    with contextlib.suppress(StopRequested):
        while True:
            with contextlib.suppress(WaitTimeout):
                PROCESS.wait(60.0, "the end of the run")
    server.wait_for_viewer()
    server.shutdown()


class PageServer(ThreadingHTTPServer):
    """An HTTP server at a socket that is already listening."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, folder: Path, requests: Connection) -> None:
        super().__init__(listener.getsockname()[:2], partial(PageHandler, folder=folder), bind_and_activate=False)
        self.socket.close()
        listener.setblocking(True)
        self.socket = listener
        self._requests = requests
        self._lock = threading.Lock()
        self._last_asked = 0.0
        self._got_state = threading.Event()

    def send_request(self, request: str) -> None:
        """Send the launcher what a viewer requests."""
        with self._lock:
            self._requests.send_bytes(request.encode())

    def state_sent(self) -> None:
        """Note that a viewer has got the current state."""
        self._last_asked = time.monotonic()
        self._got_state.set()

    def wait_for_viewer(self) -> None:
        """Wait until a present viewer has got the current state."""
        self._got_state.clear()
        if time.monotonic() < self._last_asked + PRESENT_SECONDS:
            self._got_state.wait(LAST_STATE_SECONDS)


class PageHandler(BaseHTTPRequestHandler):
    """Answers one request of a browser."""

    server: PageServer

    def __init__(self, *arguments: object, folder: Path) -> None:
        self._folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if not self._is_for_this_host():
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            page = files("swarmsim.views").joinpath("page.html").read_bytes()
            self._answer("text/html; charset=utf-8", page)
        elif self.path == "/state":
            self._answer("application/json", (self._folder / "state.json").read_bytes())
            self.server.state_sent()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        request = self.path.removeprefix("/")
        if not self._is_for_this_host() or HEADER not in self.headers:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif request not in REQUESTS:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self.server.send_request(request)
            self._answer("text/plain", b"")

    def _is_for_this_host(self) -> bool:
        return self.headers.get("Host", "").partition(":")[0] in HOSTS

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src data:")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: the terminal belongs to the run."""
