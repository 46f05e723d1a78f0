"""One photo by http(s): time-outs, retries, redirects and a limit of size; what fails has a reason in a few words."""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from shelfbench.base.version import __version__
from shelfbench.data.sources.links import WEB, host_of, scheme_of

_REDIRECTS = (301, 302, 303, 307, 308)
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a link may take.

    Attributes
    ----------
    connect, read, total : float
        Seconds until there is a connection, between two pieces of an answer, and for the whole of one attempt.
    attempts : int
        How often a link is tried if the failure may pass. A time-out is tried twice at most.
    pause, longest_pause : float
        Seconds before the second attempt, doubled for each further one, and the most that a server may ask for.
    redirects : int
        How many are followed.
    largest : int
        Bytes of the largest photo.
    per_host, at_once : int
        How many are fetched at the same time from one server and from all.
    """

    connect: float = 10.0
    read: float = 15.0
    total: float = 60.0
    attempts: int = 3
    pause: float = 0.5
    longest_pause: float = 60.0
    redirects: int = 5
    largest: int = 64 << 20
    per_host: int = 8
    at_once: int = 32


class LinkError(Exception):
    """A link that gives no photo.

    Parameters
    ----------
    reason : str
        In a few words; what stands before a colon is its kind.
    attempts : int
        How often a link that fails in this way is worth trying.
    after : float
        Seconds to wait before the next attempt, if the server says so.
    unreachable : bool
        Whether there was not even a connection.
    busy : bool
        Whether the server has too much to do for any link.
    """

    def __init__(
        self, reason: str, attempts: int = 1, after: float = 0.0, *, unreachable: bool = False, busy: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.attempts, self.after = reason, attempts, after
        self.unreachable, self.busy = unreachable, busy


class _Clock(threading.local):
    """When the attempt that this thread makes must end (`time.monotonic`)."""

    deadline = float("inf")


_clock = _Clock()


def _abort(connection: HTTPConnection) -> None:
    with suppress(OSError, AttributeError):  # it may have closed in the meantime
        connection.sock.shutdown(socket.SHUT_RDWR)


def _head_in_time(connection: HTTPConnection, receive: Callable[[], Any]) -> Any:
    """Receive the head of an answer: time-outs of the socket alone would let a server send a byte now and then."""
    timer = threading.Timer(max(0.0, _clock.deadline - time.monotonic()), _abort, (connection,))
    timer.daemon = True
    timer.start()
    try:
        return receive()
    finally:
        timer.cancel()


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        return _head_in_time(self, super().getresponse)


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        return _head_in_time(self, super().getresponse)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class WebClient:
    """Gets photos from web servers, from many threads at once.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._managers: dict[str, urllib3.PoolManager] = {}
        self._proxies = {name: at for name, at in urllib.request.getproxies().items() if name in WEB}
        self._rests: dict[str, float] = {}
        self.stopped = threading.Event()

    def __reduce__(self) -> tuple[type[WebClient], tuple[Limits]]:
        """Open connections anew in each process."""
        return WebClient, (self._limits,)

    def _manager(self, link: str) -> urllib3.PoolManager:
        parts = urlsplit(link)
        proxy = self._proxies.get(parts.scheme, "")
        if proxy and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = ""
        if proxy not in self._managers:
            settings: dict[str, Any] = {
                "num_pools": 64,
                "maxsize": self._limits.per_host,
                "timeout": urllib3.Timeout(connect=self._limits.connect, read=self._limits.read),
                "headers": {"User-Agent": f"shelfbench/{__version__}", "Accept": "image/*,*/*;q=0.8"},
            }
            manager = urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
            self._managers[proxy] = manager
        return self._managers[proxy]

    def get(self, link: str) -> bytes:
        """Fetch a photo; what may pass is tried again after a pause.

        Parameters
        ----------
        link : str
            ``http://...`` or ``https://...``.

        Returns
        -------
        bytes

        Raises
        ------
        LinkError
            If it cannot be had.
        """
        attempt, host = 1, host_of(link)
        while True:
            if (rest := self._rests.get(host, 0.0) - time.monotonic()) > 0:
                self.stopped.wait(rest)
            try:
                return self._attempt(link)
            except LinkError as error:
                pause = error.after or self._limits.pause * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                if error.busy:  # the server asks all of us to wait, not this link alone
                    self._rests[host] = time.monotonic() + min(pause, self._limits.longest_pause)
                last = attempt >= min(error.attempts, self._limits.attempts) or pause > self._limits.longest_pause
                if last or self.stopped.wait(pause):
                    raise
                attempt += 1

    def _attempt(self, link: str) -> bytes:
        started = time.monotonic()
        _clock.deadline = started + self._limits.total
        try:
            return self._follow(link)
        except urllib3.exceptions.LocationValueError:
            raise LinkError("not a valid link") from None
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            late = time.monotonic() >= _clock.deadline
            raise self._slow() if late else self._explained(error) from None

    def _follow(self, link: str) -> bytes:
        at, seen = link.strip(), set()
        for _ in range(self._limits.redirects + 1):
            seen.add(at)
            response = self._ask(at)
            finished = False
            try:
                if time.monotonic() >= _clock.deadline:  # what looks like the end of the head is where it was cut
                    raise self._slow()
                if response.status in _REDIRECTS and (where := response.headers.get("Location")):
                    at = urljoin(at, where)
                    if scheme_of(at) not in WEB:
                        raise LinkError(f"redirects to {scheme_of(at)}://")
                    if at in seen:
                        raise LinkError("redirects in a circle")
                    continue
                if response.status != 200:
                    raise self._refused(response)
                data = self._body(response)
                finished = True
                return data
            finally:
                response.release_conn() if finished else response.close()
        raise LinkError("redirects too often")

    def _ask(self, link: str) -> urllib3.BaseHTTPResponse:
        parts = urllib3.util.parse_url(link)
        headers = None
        if parts.auth:
            user = urllib3.util.make_headers(basic_auth=parts.auth)
            headers = {**self._manager(link).headers, **user}
        return self._manager(link).request(
            "GET", link, headers=headers, redirect=False, retries=False, preload_content=False
        )

    def _refused(self, response: urllib3.BaseHTTPResponse) -> LinkError:
        """Say what an answer other than 200 means."""
        code = response.status
        what = f"{code} {response.reason or http.client.responses.get(code, '')}".strip()[:80]
        if code not in (408, 425, 429) and code < 500:
            return LinkError(what)
        after = 0.0
        if asked := response.headers.get("Retry-After"):
            with suppress(urllib3.exceptions.InvalidHeader):
                after = urllib3.Retry().parse_retry_after(asked)
        busy = code == 429 or (code == 503 and after > 0)
        return LinkError(what, attempts=self._limits.attempts, after=after, busy=busy)

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read an answer piece by piece, so that neither its size nor its time is left to the server."""
        declared, largest = response.headers.get("Content-Length"), self._limits.largest
        if declared is not None and not response.chunked and not declared.strip().isdigit():
            raise LinkError("wrong length in the answer's head")
        pieces, size = [], 0
        packed = response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
        while (remaining := response.length_remaining) != 0 or packed:
            if remaining is not None and size + remaining > largest:
                raise self._too_large()
            # no more than remains, because before Python 3.12 the next bytes of the connection would be read, too
            piece = response.read1(min(_PIECE, remaining) if remaining else _PIECE)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > largest:
                raise self._too_large()
            if time.monotonic() >= _clock.deadline:
                raise self._slow()
        data = b"".join(pieces)
        if not data:
            raise LinkError("empty answer")
        if data[:400].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
            raise LinkError("HTML instead of a photo")
        return data

    def _too_large(self) -> LinkError:
        size = self._limits.largest
        return LinkError(f"larger than {size >> 20} MiB" if size >= 1 << 20 else f"larger than {size:,} bytes")

    def _slow(self) -> LinkError:
        return LinkError(f"not complete after {self._limits.total:g} s", attempts=2)

    def _explained(self, error: Exception) -> LinkError:
        """Say in a few words what an error of the network means."""
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 10:
            causes.append(cause)
        inner = [item for cause in causes for item in (cause, *cause.args) if isinstance(item, BaseException)]

        def of(*kinds: type[BaseException]) -> bool:
            return any(isinstance(item, kinds) for item in inner)

        often = self._limits.attempts
        if of(urllib3.exceptions.NameResolutionError, socket.gaierror):
            return LinkError("unknown host", attempts=2, unreachable=True)
        if of(ConnectionRefusedError):
            return LinkError("connection refused", attempts=2, unreachable=True)
        if of(urllib3.exceptions.NewConnectionError):  # a kind of ConnectTimeoutError, but not one of time
            return LinkError("no connection", attempts=2, unreachable=True)
        if of(urllib3.exceptions.ConnectTimeoutError):
            return LinkError(f"no connection within {self._limits.connect:g} s", attempts=2, unreachable=True)
        if of(urllib3.exceptions.SSLError, ssl.SSLError):
            return LinkError(f"no secure connection: {str(error)[:100]}", unreachable=True)
        if of(urllib3.exceptions.ReadTimeoutError, TimeoutError):
            return LinkError(f"no answer within {self._limits.read:g} s", attempts=2)
        if of(urllib3.exceptions.IncompleteRead, http.client.IncompleteRead, urllib3.exceptions.InvalidChunkLength):
            return LinkError("truncated answer", attempts=often)
        if of(urllib3.exceptions.InvalidHeader):
            return LinkError("wrong length in the answer's head")
        if of(ConnectionResetError, BrokenPipeError):
            return LinkError("connection reset", attempts=often)
        if of(http.client.RemoteDisconnected, http.client.BadStatusLine):
            return LinkError("no proper answer", attempts=often)
        return LinkError(f"failed: {type(error).__name__}", attempts=often, unreachable=of(OSError))
