"""The errors a user meets: one line that says what is wrong and what to do, and an exit code."""


class ShelfbenchError(Exception):
    """An error that is reported as one line, never as a traceback.

    Parameters
    ----------
    message : str
        What is wrong: the file, the record, the setting.
    remedy : str, optional
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}; {remedy}" if remedy else message)


class InputError(ShelfbenchError):
    """Wrong input: a file, a setting, a name (exit code 2)."""

    exit_code = 2


class RunError(ShelfbenchError):
    """A run that failed on good input: no space, no memory, no network (exit code 1)."""

    exit_code = 1
