"""An HTTP server on this machine, and the ways in which it answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


class Server(ThreadingHTTPServer):
    """Serves `files` by name with `answer`, and keeps the requested paths in `requests`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.answer: Answer = send
        self.requests: list[str] = []
        self.ends = Event()


class Request(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        with suppress(OSError):  # a client that asks for the address alone hangs up
            self.server.answer(self, content)

    def wait(self, seconds: float) -> None:
        self.server.ends.wait(seconds)

    def log_message(self, *_) -> None:
        pass


Answer = Callable[[Request, bytes], None]


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.ends.set()
        server.shutdown()
        thread.join()


def send(
    request: Request, content: bytes, length: int | None = None, pieces: int = 1, pause: float = 0
) -> None:
    """Send `content` in pieces with a pause before each; the header says `length` bytes."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    size = -(-len(content) // pieces)
    for start in range(0, len(content), size):
        request.wait(pause)
        request.wfile.write(content[start : start + size])
        request.wfile.flush()


def send_half(request: Request, content: bytes) -> None:
    send(request, content[: len(content) // 2], length=len(content))


def send_another_file(request: Request, content: bytes) -> None:
    send(request, content[:-1] + b"?")


def send_login_page(request: Request, content: bytes) -> None:
    send(request, b"<html>Please sign in to the hotel's network</html>")


def fall_silent(request: Request, content: bytes) -> None:
    send(request, content[: len(content) // 8], length=len(content))
    request.wait(30)


def send_for_ever(request: Request, content: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    while not request.server.ends.is_set():
        request.wfile.write(content)


def say_nothing(request: Request, content: bytes) -> None:
    request.wait(30)


def hang_up(request: Request, content: bytes) -> None:
    request.connection.close()


def not_found(request: Request, content: bytes) -> None:
    request.send_error(404)
