"""The errors that users see: one line that says what is wrong and what to do, and an exit code.

::

    Exception
    └── ShelfbenchError   reported as one line, exit code 1
        ├── InputError    wrong input, exit code 2
        └── RunError      a run that failed on correct input, exit code 1
"""

import os


class ShelfbenchError(Exception):
    """An error that the command line reports as one line, never as a traceback.

    Parameters
    ----------
    message : str
        What is wrong: the file, the record, the setting.
    remedy : str, optional
        What the user can do about it.

    Attributes
    ----------
    exit_code : int
        Of the command line.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}; {remedy}" if remedy else message)


class InputError(ShelfbenchError):
    """Wrong input: a file, a setting or a name (exit code 2)."""

    exit_code = 2


class RunError(ShelfbenchError):
    """A run that failed on correct input: no space, no memory or no network (exit code 1)."""

    exit_code = 1


FOREIGN = "correct the plug-in, or report the bug"


def explain(error: Exception, remedy: str = "this is a bug") -> ShelfbenchError:
    """Say in one line what any error means to a user.

    Parameters
    ----------
    error : Exception
        Raised by shelfbench, the system, a library or a plug-in.
    remedy : str
        For an error that nobody foresaw.

    Returns
    -------
    ShelfbenchError
        The error itself where it is one.

    Raises
    ------
    Exception
        `error`, if nobody foresaw it and ``SHELFBENCH_DEBUG`` is set.
    """
    if isinstance(error, ShelfbenchError):
        return error
    if isinstance(error, MemoryError):
        return RunError("out of memory", "use fewer categories or products, or a machine with more")
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(f"{error.filename}: {error.strerror}", "correct the path")
    if os.environ.get("SHELFBENCH_DEBUG"):
        raise error
    said = str(error).strip().splitlines()
    what = f"unexpected {type(error).__name__}: {said[0] if said else 'no message'}"
    return RunError(what, f"{remedy}: SHELFBENCH_DEBUG=1 shows where")
