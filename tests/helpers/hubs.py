"""Stand-ins for the packages of the hubs, at their boundary: a folder plays the hub."""

import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType, SimpleNamespace

from shelfbench.base.storage import file_sha256


def huggingface(monkeypatch, folder, revision="0123456789abcdef0123456789abcdef01234567"):
    """Let `huggingface_hub` give the files of a folder; returns the calls that were made."""
    calls = []

    class HfApi:
        def dataset_info(self, repo_id, *, revision=None, files_metadata=False):
            calls.append(("info", repo_id, revision))
            siblings = [
                SimpleNamespace(
                    rfilename=path.relative_to(folder).as_posix(),
                    size=path.stat().st_size,
                    lfs=SimpleNamespace(sha256=file_sha256(path)),
                )
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            ]
            return SimpleNamespace(sha=commit, siblings=siblings if files_metadata else None)

    def snapshot_download(repo_id, *, repo_type, revision, allow_patterns, local_dir):
        calls.append(("download", repo_id, revision))
        assert repo_type == "dataset"
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                (Path(local_dir) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, Path(local_dir) / name)
        return str(local_dir)

    commit = revision
    module = ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return calls


def kaggle(monkeypatch, folder, cache):
    """Let `kagglehub` give the files of a folder through a cache of its own; returns the calls that were made."""
    calls = []

    def competition_download(handle, path=None, *, force_download=False):
        calls.append((handle, path, force_download))
        kept = cache / handle / path
        marker = kept.with_name(kept.name + ".complete")
        if force_download or not marker.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, kept)
            marker.touch()
        return str(kept)

    module = ModuleType("kagglehub")
    module.competition_download = competition_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return calls
