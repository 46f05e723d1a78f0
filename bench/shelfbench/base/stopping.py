"""Ctrl-C, SIGTERM and SIGHUP: all of them end a command in the same way, once, and without a traceback.

The first one raises `Stopped` in the main thread, which is a `KeyboardInterrupt`: what is half done is removed, the run
is noted as interrupted, and one line is said. A second one more than a second later ends the process at once, for those
who do not want to wait. What is on the disk is whole either way.

Little is imported here, because this is loaded before everything else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

# Seconds within which a second Ctrl-C is the first one, pressed twice.
_TWICE = 1.0
# Seconds that threads and libraries get to end by themselves once everything has been said.
_LEAVE = 10.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
# When the first signal came, and which one it was.
_asked: list[tuple[float, int]] = []


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end.

    Parameters
    ----------
    number : int
        Of the signal.

    Attributes
    ----------
    exit_code : int
        128 and the number, as shells count: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number = number
        self.exit_code = 128 + number
        super().__init__(signal.Signals(number).name)


def listen() -> None:
    """Let signals end this process as Ctrl-C does; only a command calls this, never the functions from Python.

    A signal that whoever started the process has it ignore stays ignored, as SIGHUP is after ``nohup``.
    """
    _asked.clear()
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _heard)
    sys.unraisablehook = _unraisable


def asked() -> bool:
    """Tell whether a signal has asked this process to end: what fails then fails because of that."""
    return bool(_asked)


def stop_if_asked() -> None:
    """Raise `Stopped` if a signal has asked this process to end.

    Raises
    ------
    Stopped
        Again: a library may have made another error of the first one.
    """
    if _asked:
        raise Stopped(_asked[0][1])


def exit_code(stop: KeyboardInterrupt | None) -> int:
    """Return the exit code of a process that a signal has stopped.

    Parameters
    ----------
    stop : KeyboardInterrupt or None
        None if a library made another error of it.

    Returns
    -------
    int
    """
    if isinstance(stop, Stopped):
        return stop.exit_code
    return 128 + (_asked[0][1] if stop is None and _asked else int(signal.SIGINT))


def leave(code: int) -> None:
    """Let the process end with its exit code, whatever signals still come, and soon if one has come.

    Parameters
    ----------
    code : int
    """
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == _heard:
            signal.signal(number, lambda *_: os._exit(code))
    if _asked:
        late = threading.Timer(_LEAVE, os._exit, (code,))
        late.daemon = True
        late.start()


def _heard(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _asked:
        _asked.append((now, number))
        raise Stopped(number)
    if now - _asked[0][0] > _TWICE:
        os._exit(128 + number)


def _unraisable(found: Any) -> None:
    """Raise a signal again that came while Python cleaned up, where nothing can be raised, instead of showing it."""
    if isinstance(found.exc_value, KeyboardInterrupt):
        number = _asked[0][1] if _asked else int(signal.SIGINT)
        _asked.clear()
        again = threading.Timer(0.05, _send, (number,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(found)


def _send(number: int) -> None:
    """Send this process a signal."""
    if os.name == "posix":
        os.kill(os.getpid(), number)  # which ends the wait of a main thread that waits
    else:  # there, `os.kill` ends the process at once
        signal.raise_signal(number)
