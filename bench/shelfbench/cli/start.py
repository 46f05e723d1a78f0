"""Where the command ``shelfbench`` begins: signals are listened to before anything else is loaded."""

from __future__ import annotations

import sys

from shelfbench.base.stopping import exit_code, leave, listen


def main() -> int:
    """Run the command line in a process of its own.

    Returns
    -------
    int
        The exit code of `shelfbench.cli.main.main`.
    """
    listen()
    try:
        from shelfbench.base.temporary import own_temporary_folder
        from shelfbench.cli.main import main as command

        with own_temporary_folder():
            code = command()
    except KeyboardInterrupt as stop:  # while modules were loaded, or while an error was being explained
        code = exit_code(stop)
        if sys.stderr is not None:
            print("shelfbench: stopped", file=sys.stderr)
    leave(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
