"""Take away what Windows lacks, then do as asked: ``python -m tests.helpers.as_on_windows VERB ...`` or ``import``.

Only what can be taken away is: paths, locks of files that are open, and libraries remain those of this system.
"""

import errno
import importlib
import multiprocessing
import os
import pkgutil
import signal
import sys
from pathlib import Path

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios")
OF_OS = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "forkpty", "getpgid", "getuid", "killpg"),
    *("posix_fadvise", "posix_fallocate", "pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "setsid"),
    *("statvfs", "sysconf", "sysconf_names", "uname"),
)
OF_SIGNAL = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1")


def _replaces_nothing(rename):
    """On Windows, a name that is taken is not given to something else, and what is open is not moved."""

    def renamed(self, target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self), None, str(target))
        return rename(self, target)

    return renamed


def take_away() -> None:
    """Make this process resemble one on Windows."""
    # these ask which system this is, once, when they are loaded
    for name in ("joblib.externals.loky", "matplotlib.font_manager", "psutil", "shutil", "subprocess", "tempfile"):
        importlib.import_module(name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for place, names in ((os, OF_OS), (signal, OF_SIGNAL)):
        for name in names:
            if hasattr(place, name):
                delattr(place, name)
    Path.rename = _replaces_nothing(Path.rename)
    multiprocessing.set_start_method("spawn")


def import_everything() -> int:
    """Import every module of the harness and of the baselines; return how many."""
    found = 0
    for package in ("shelfbench", "shelfbench_baselines"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
                found += 1
    return found


if __name__ == "__main__":
    take_away()
    if sys.argv[1:] == ["import"]:
        print(import_everything())
        sys.exit(0)
    from shelfbench.cli.main import main

    sys.exit(main(sys.argv[1:]))
