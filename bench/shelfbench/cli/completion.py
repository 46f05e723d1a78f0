"""Shell completion: the script that a shell reads, made by ``shtab`` from the parser and from what is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from shelfbench.base.errors import InputError

SHELLS = ("bash", "zsh", "tcsh")
# Arguments that are a name or a path.
_PLACES = ("study", "dataset")
_BASH = {
    "study": """_shelfbench_study() {{
  compgen -W "{names}" -- "$1"; compgen -f -X '!*.toml' -- "$1"; compgen -d -- "$1"
}}""",
    "dataset": """_shelfbench_dataset() {{
  compgen -W "{names}" -- "$1"; compgen -f -- "$1"
}}""",
}
_ZSH = {
    "study": """_shelfbench_study() {{
  _alternative 'names:study:({names})' 'files:TOML file:_files -g "*.toml"'
}}""",
    "dataset": """_shelfbench_dataset() {{
  _alternative 'names:dataset:({names})' 'files:path:_files'
}}""",
}


class PrintCompletion(argparse.Action):
    """The option ``--print-completion SHELL``: print the script and stop."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the script for the shell given."""
        print(script(parser, str(values)))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Make the completion script of a shell.

    Parameters
    ----------
    parser : ArgumentParser
        Changed on the way: made for this, or thrown away after it.
    shell : str
        One of `SHELLS`.

    Returns
    -------
    str
        It completes verbs, options, files, and the names of studies, backends and datasets that are there now.

    Raises
    ------
    InputError
        If ``shtab`` is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise InputError("shell completion needs shtab", "python -m pip install shtab") from None
    from shelfbench.data.named import named_datasets
    from shelfbench.plugins.finding import available
    from shelfbench.study.read import study_names

    known = named_datasets()
    names = {"backend": sorted(available()), "name": sorted(name for name in known if known[name].method != "generate")}
    names |= {"first": names["backend"], "others": names["backend"]}
    [verbs] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for verb in verbs.choices.values():
        for action in verb._actions:
            if action.dest in names:
                action.choices = names[action.dest]
            elif action.dest in _PLACES:
                action.complete = {
                    "bash": f"_shelfbench_{action.dest}",
                    "zsh": f"_shelfbench_{action.dest}",
                    "tcsh": "f",
                }
            elif action.metavar in ("DIR", "FOLDER", "DECISION"):
                action.complete = shtab.DIRECTORY
            elif action.metavar in ("FILE", "PATH"):
                action.complete = shtab.FILE
    places = {"study": study_names(), "dataset": sorted(known)}
    functions = {
        name: "\n".join(text.format(names=" ".join(places[key])) for key, text in texts.items())
        for name, texts in (("bash", _BASH), ("zsh", _ZSH))
    }
    return str(shtab.complete(parser, shell, preamble=functions.get(shell, "")))
