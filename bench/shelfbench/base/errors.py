"""The errors that users see: one line that says what is wrong and what to do, and an exit code.

::

    Exception
    └── ShelfbenchError   reported as one line, exit code 1
        ├── InputError    wrong input, exit code 2
        └── RunError      a run that failed on correct input, exit code 1
"""


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
