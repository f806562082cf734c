"""The process that serves the live page: one file to look at, another one with what it shows, and three wishes."""

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

PAUSE, RESUME, STOP = WISHES = "pause", "resume", "stop"
PRESENT_SECONDS = 2.0  # since it asked last, within which a reader is taken to look on
FAREWELL_SECONDS = 1.5  # for a reader who looks on to see how the run ended

# Any page of the web can have a browser send requests here, but none with a header of its own, nor by this host's name.
HEADER = "X-Swarmsim"
HOSTS = "127.0.0.1", "localhost"


def serve_page(listener: socket.socket, folder: Path, wishes: Connection) -> None:
    """Serve the page at `listener` until the launcher asks to stop, and its reader has seen the end.

    Args:
        folder: where `state.json` is, which the launcher replaces whenever there is news.
        wishes: gets what the reader asks for.
    """
    server = PageServer(listener, folder, wishes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    PROCESS.report_ready()
    with contextlib.suppress(StopRequested):
        while True:
            with contextlib.suppress(WaitTimeout):
                PROCESS.wait(60.0, "the end of the run")
    server.say_farewell()
    server.shutdown()


class PageServer(ThreadingHTTPServer):
    """An HTTP server at a socket that listens already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, folder: Path, wishes: Connection) -> None:
        super().__init__(listener.getsockname()[:2], partial(PageHandler, folder=folder), bind_and_activate=False)
        self.socket.close()
        listener.setblocking(True)
        self.socket = listener
        self._wishes = wishes
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._seen = threading.Event()

    def wish(self, wish: str) -> None:
        """Tell the launcher what the reader asked for."""
        with self._lock:
            self._wishes.send_bytes(wish.encode())

    def was_asked(self) -> None:
        """Notice that a reader has seen what there is."""
        self._asked_at = time.monotonic()
        self._seen.set()

    def say_farewell(self) -> None:
        """Wait until a reader who looks on has seen what there is now."""
        self._seen.clear()
        if time.monotonic() < self._asked_at + PRESENT_SECONDS:
            self._seen.wait(FAREWELL_SECONDS)


class PageHandler(BaseHTTPRequestHandler):
    """Answers one request of a browser."""

    server: PageServer

    def __init__(self, *arguments: object, folder: Path) -> None:
        self._folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if not self._is_called_by_name():
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            page = files("swarmsim.views").joinpath("page.html").read_bytes()
            self._answer("text/html; charset=utf-8", page)
        elif self.path == "/state":
            self._answer("application/json", (self._folder / "state.json").read_bytes())
            self.server.was_asked()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        wish = self.path.removeprefix("/")
        if not self._is_called_by_name() or HEADER not in self.headers:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif wish not in WISHES:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self.server.wish(wish)
            self._answer("text/plain", b"")

    def _is_called_by_name(self) -> bool:
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
        """Say nothing: the terminal is the run's."""
