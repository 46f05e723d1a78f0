"""Categories as people write them: by the key, or by the display name, in any case."""

from __future__ import annotations

from collections.abc import Mapping

from shelfbench.base.spreadsheet import inert


class Spellings:
    """What may be written for each category, also with the apostrophe that our tables put before a formula.

    Parameters
    ----------
    names : mapping of str to str
        Display names by key.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._keys = {inert(key).strip(): key for key in names} | {key.strip(): key for key in names}
        self._exact: dict[str, set[str]] = {}
        self._folded: dict[str, set[str]] = {}
        for key, name in names.items():
            for text in {spelt.strip() for said in (name, key) for spelt in (said, inert(said))}:
                self._exact.setdefault(text, set()).add(key)
                self._folded.setdefault(text.casefold(), set()).add(key)

    def meant(self, text: str) -> set[str]:
        """Find the categories that a text may mean.

        Parameters
        ----------
        text : str

        Returns
        -------
        set of str
            Keys: one for a key, whatever else is called that; several where a name is that of several categories; none
            if nothing is called that.
        """
        text = text.strip()
        if text in self._keys:
            return {self._keys[text]}
        return self._exact.get(text) or self._folded.get(text.casefold()) or set()
