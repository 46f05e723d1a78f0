"""A web server on this machine whose photos fail in ten ways."""

import gzip
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.helpers.photos import noise_picture

# By path: what is wrong with it, and the kind of reason that shelfbench gives.
WAYS = {
    "missing": "404 Not Found",
    "silent": "no answer within 1 s",
    "empty": "empty answer",
    "page": "HTML instead of a photo",
    "circle": "redirects in a circle",
    "drip": "not complete after 2.5 s",
    "truncated": "truncated answer",
    "length": "wrong length in the answer's head",
    "large": "larger than 100,000 bytes",
    "reset": "connection reset",
}


@lru_cache(2000)
def photo(number):
    """The photo of a product."""
    return noise_picture(number)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        way, _, number = self.path.strip("/").partition("/")
        with self.server.lock:
            self.server.asked[self.path] += 1
            self.server.running += 1
            self.server.most = max(self.server.most, self.server.running)
        try:
            if (content := self.server.files.get(self.path)) is not None:
                self._answer(content if isinstance(content, bytes) else content.encode())
                return
            getattr(self, f"on_{way}", self.on_missing)(number)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.server.lock:
                self.server.running -= 1

    def _answer(self, body, status=200, declared=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)) if declared is None else declared)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_slow(self, number):
        time.sleep(0.02)
        self.on_photo(number)

    def on_photo(self, number):
        self._answer(photo(int(number.partition("?")[0])))

    def on_moved(self, number):
        self._answer(b"", 302, Location=f"/photo/{number}")

    def on_busy(self, number):
        if self.server.asked[self.path] == 1:
            self._answer(b"", 429, Retry_After="0")
        else:
            self.on_photo(number)

    def on_limited(self, number):
        """Answer at most a few at the beginning, until a second has passed."""
        with self.server.lock:
            self.server.limited.append(time.monotonic())
            early = self.server.limited[-1] - self.server.limited[0] < 1
        if early and len(self.server.limited) > 3:
            self._answer(b"", 429, Retry_After="1")
        else:
            self.on_photo(number)

    def on_flaky(self, number):
        if self.server.asked[self.path] < 3:
            self._answer(b"", 503)
        else:
            self.on_photo(number)

    def on_chunked(self, number):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = photo(int(number))
        for at in range(0, len(data), 100):
            piece = data[at : at + 100]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def on_packed(self, number):
        """Compress the photo, although nobody asked for that."""
        self._answer(gzip.compress(photo(int(number)) + bytes(50_000)), Content_Encoding="gzip")

    def on_bomb(self, number):
        self._answer(gzip.compress(bytes(4_000_000), 1), Content_Encoding="gzip")

    def on_missing(self, number):
        self._answer(b"<html>not here</html>", 404)

    def on_silent(self, number):
        self.server.over.wait(3)
        self.close_connection = True

    def on_empty(self, number):
        self._answer(b"")

    def on_page(self, number):
        self._answer(b"\n<!DOCTYPE html><title>Please log in</title>", Content_Type="image/jpeg")

    def on_circle(self, number):
        turn = int(number.partition("?")[2] or 0)
        self._answer(b"", 302, Location=f"/circle/{number.partition('?')[0]}?{(turn + 1) % 3}")

    def on_drip(self, number):
        """Send a byte now and then: in the head of the answer for odd numbers, in the body for even ones."""
        if int(number) % 2:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            piece = b"X"
        else:
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            piece = b"x"
        for _ in range(100):
            self.wfile.write(piece)
            self.wfile.flush()
            if self.server.over.wait(0.05):
                break
        self.close_connection = True

    def on_truncated(self, number):
        data = photo(int(number))
        self._answer(data[:-50], declared=str(len(data)))
        self.close_connection = True

    def on_length(self, number):
        data = photo(int(number))
        self._answer(data, declared=("many", "-7", f"{len(data)}, 5")[int(number) % 3])
        self.close_connection = True

    def on_large(self, number):
        if int(number) % 2:
            self._answer(b"", declared="999999999")
        else:  # says nothing, and sends and sends
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b"\xff" * 10_000)
        self.close_connection = True

    def on_reset(self, number):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        time.sleep(0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


@contextmanager
def shop_server():
    """Run a server at ``url``, with more ``files`` by path.

    ``asked`` counts requests by path, ``most`` is how many were answered at once.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked, server.lock, server.over = Counter(), threading.Lock(), threading.Event()
    server.running = server.most = 0
    server.files, server.limited = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
