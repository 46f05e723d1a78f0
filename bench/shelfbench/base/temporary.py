"""A folder for all temporary files of a command, also those of libraries, which goes with the command.

TensorFlow writes a file for each function that it compiles, and removes it at its end; a command that is killed never
comes to that. In a folder of the command's own, the next command removes them (`shelfbench.base.partial`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shelfbench.base.partial import OURS, aside_folder

_VARIABLE = "TMPDIR"


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Let temporary files of this process and those that it starts be in a new folder, and remove it at the end.

    Where no folder can be made, they are where they would be without this, and whoever writes one says what is wrong.
    """
    with ExitStack() as stack:
        try:
            # a short name: sockets in this folder may have a hundred letters
            folder = stack.enter_context(aside_folder(Path(tempfile.gettempdir()) / "tmp", 0o700))
        except OSError:
            yield
            return
        before, told = tempfile.tempdir, os.environ.get(_VARIABLE)
        tempfile.tempdir = os.environ[_VARIABLE] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
            if told is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = told


def temporary_folder() -> Path:
    """Return the folder for temporary files; the one above that of this command alone."""
    found = Path(tempfile.gettempdir())
    return found.parent if OURS.fullmatch(found.name) else found
