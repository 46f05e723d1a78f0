"""The errors that users see: one line that says what is wrong and what to do, and an exit code.

::

    Exception
    └── ShelfbenchError   reported as one line, exit code 1
        ├── InputError    wrong input, exit code 2
        │   └── NotInstalled   a package that is needed is not there, or broken; the remedy is pip's command
        └── RunError      a run that failed on correct input, exit code 1
"""

from __future__ import annotations

import errno
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
        self.message = _one_line(message)
        self.remedy = _one_line(remedy)
        super().__init__(f"{self.message}; {self.remedy}" if remedy else self.message)


def _one_line(text: str) -> str:
    """Write the ends of lines in a stranger's name, or in what a library says, as escapes."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


class InputError(ShelfbenchError):
    """Wrong input: a file, a setting or a name (exit code 2)."""

    exit_code = 2


class NotInstalled(InputError):
    """A package that only some of shelfbench needs is missing, or broken; the remedy installs it (exit code 2)."""


class RunError(ShelfbenchError):
    """A run that failed on correct input: no space, no memory or no network (exit code 1)."""

    exit_code = 1


# Of a place that may only be read.
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
# What is wrong with a path rather than with the system.
_PATHS = frozenset(
    {
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
        *(errno.ELOOP, errno.EINVAL, errno.EROFS, errno.ENOTEMPTY, errno.EBADF, errno.EXDEV, errno.ENXIO, errno.ENODEV),
    }
)
_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some of your quota and run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run the same command again",
    errno.EIO: "check the disk, and run the same command again",
    errno.EMFILE: "raise the limit on open files (ulimit -n) and run the same command again",
    errno.ENFILE: "raise the limit on open files and run the same command again",
    errno.ENOMEM: "use fewer categories or products, or a machine with more memory",
    errno.EAGAIN: "allow more processes (ulimit -u), or use fewer --workers",
    errno.ESTALE: "mount the file system again, and run the same command again",
}


def system_error(error: OSError, what: str, otherwise: str) -> RunError:
    """Say in one line what the system refused, and what to do.

    Parameters
    ----------
    error : OSError
    what : str
        What was being done, or the file.
    otherwise : str
        The remedy, where this error has none of its own.

    Returns
    -------
    RunError
    """
    reason = error.strerror or str(error) or type(error).__name__
    return RunError(f"{what}: {reason}", _REMEDIES.get(error.errno or 0, otherwise))


def _of_a_pool(error: Exception) -> bool:
    """Tell whether a worker process was ended, by whichever library: all of them derive from one class."""
    from concurrent.futures import BrokenExecutor

    return isinstance(error, BrokenExecutor)


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
    if isinstance(error, OSError) and error.filename is not None and error.errno in _PATHS:
        return InputError(f"{error.filename}: {error.strerror}", "correct the path")
    if isinstance(error, OSError) and error.errno is not None:
        return system_error(error, str(error.filename or "the system"), "see to it, and run the same command again")
    if _of_a_pool(error):
        return RunError(
            "a process that worked for this one was ended from outside",
            "if memory was short, use fewer --workers; then run the same command again",
        )
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):  # bytes that are not UTF-8
        found = str(error.object)[max(error.start - 40, 0) : error.end + 40]
        return InputError(f"a name is not UTF-8: {found!r}", "rename it, or choose another place")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # pathlib's, before Python 3.13
        return InputError(f"{str(error)[18:].strip()}: too many levels of symbolic links", "correct the path")
    if os.environ.get("SHELFBENCH_DEBUG"):
        raise error
    from shelfbench.base.loading import why_not_loaded

    if (why := why_not_loaded(error)) is not None:
        return NotInstalled(*why)
    said = first_line(error) if str(error).strip() else "no message"
    what = f"unexpected {type(error).__name__}: {said}"
    return RunError(what, f"{remedy}: SHELFBENCH_DEBUG=1 shows where")


def first_line(error: object) -> str:
    """Return the first line of a message, at most 200 characters; the name of the error's class if there is none.

    Parameters
    ----------
    error : BaseException or str

    Returns
    -------
    str
        Without the colon or the full stop at its end.
    """
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(":.") if lines else type(error).__name__
