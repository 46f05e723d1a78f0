"""Locks lie where nobody else can make them first."""

import os

import pytest

from shelfbench.base import locking


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no owners of folders like these")
def test_locks_of_a_cache_that_may_only_be_read_are_in_a_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "temporary_folder", lambda: tmp_path)
    assert locking._own_folder() == locking._own_folder()
    user = os.getuid()
    (tmp_path / f"shelfbench-locks-{user + 1}").mkdir()  # somebody was there before its user
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        locking._own_folder()
