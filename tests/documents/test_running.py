"""Every command of the documents is run, page by page and in order, on a small shop; or it is said why it cannot be.

A page has a folder in which its commands are typed one after the other. Runs on the generated catalogue are made
smaller, two draws stand for five, and networks whose weights would be downloaded get random ones; nothing else of a
command is changed. What an earlier page has run is copied and then resumed.
"""

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from shelfbench.cli.arguments import parser
from shelfbench.cli.main import main
from tests.documents import stand_ins
from tests.documents.commands import FENCE, PAGES, Command, commands
from tests.documents.test_commands import PLACEHOLDERS, typed
from tests.helpers.sources import PYTHONPATH, ROOT

pytestmark = pytest.mark.slow

# Why a command is parsed only, by a pattern of its text; the first that fits counts.
NOT_RUN = {
    r"python -m (pip (install|wheel)|venv)|apt install": "installs into the environment of these tests",
    r"nox -s": "makes an environment of its own; the workflows run it",
    r"shelfbench fetch": "needs the internet; tests/data/test_fetch.py fetches from a stand-in of the hubs",
    r"dask (scheduler|worker)|--dask (tcp://|\.\.\.|local:4)": "other processes, which tests/spread starts",
    r"shelfbench (features|run) cdiscount": "Inception V3 on 180 px photos and its fine-tuning, for hours",
    r"shelfbench run (timing|label-noise|fashion-full)": "minutes to hours whatever the data",
    r"backend full-inception_v3|srun": "hours; tests/deep/training/test_processes.py does it small",
    r"shelfbench_deep\.measure|on_gpu\.py": "ten minutes of a device; tests/deep/timing/test_measure.py runs it small",
    r"python (-m )?tests[./]": "measures for minutes to hours; what it measures with has tests",
    r"cd shelfbench-my-backend|python -m pytest|--backend my-backend": "needs an installation, which "
    "tests/packaging/test_new_backend.py does",
    r"python -m build": "builds this repository, which tests/packaging does",
    r"compare (baseline new|OLD NEW)": "two runs of one's own; tests/test_ci.py does the steps",
    r"plan cdiscount": "needs all of Cdiscount's photos; results/scale/cdiscount-plan.txt is what it says",
    r"^export ": "sets variables for commands that are not run either",
    r"SLURM_ARRAY|^(cat >|END$|jobs=|sbatch )": "needs Slurm; tests/cli/test_moving.py runs it with a stand-in",
    r"set bottleneck\.precision=int8": "quantises for a minute; tests/deep/features has it",
}
SHRUNK = {
    "default": ["--set", "generated.products=600"],
    "timm:": ["--set", "weights=none"],
    "keras:": ["--set", "weights=none"],
}
FINE = {"decide": (0, 3, 4), "watch": (0, 3, 4)}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    stand_ins.fill(folder)
    return folder


@pytest.fixture(scope="module")
def done(shop):
    """Where each command that runs a study has left its results; of others that stand in a sentence, nothing."""
    return {f"shelfbench run --dataset PATH{out}": shop / "results" / "mine" for out in ("", " --out results/mine")}


@pytest.fixture
def here(shop, tmp_path, monkeypatch):
    folder = stand_ins.page_folder(shop, tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("SHELFBENCH_DATA", str(folder / "datasets"))
    for _, language, body in (block for page in PAGES for block in FENCE.findall(page.read_text(encoding="utf-8"))):
        if language == "toml" and (name := re.match(r"# (\w+\.toml)\n", body)):
            (folder / name[1]).write_text(body, encoding="utf-8")
    return folder


def why_not(command: Command) -> str:
    """Why a command is not run, or an empty text."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command.text)), "")


def python_of(page: Path) -> list[str]:
    """Blocks of Python of a page; those for Slurm cannot be run, and scripts and ONNX are run by other tests.

    These are tests/test_ci.py and tests/deep/test_network_decisions.py.
    """
    text = page.read_text(encoding="utf-8")
    bodies = [body for _, language, body in FENCE.findall(text) if language == "python"]
    return [
        body for body in bodies if not {"SLURMCluster", "sys.argv", "onnxruntime"} & set(re.findall(r"[\w.]+", body))
    ]


@cache
def mentions(text: str) -> bool:
    """Whether words in a sentence only name a verb, without what it needs."""
    words = text.split()
    if len(words) < 2 or "VERB" in words or "SHELL" in words:
        return True
    return len(words) == 2 and words[1] in ("run", "plan", "label", "compare", "report", "merge", "watch")


def shrunk(words: list[str]) -> list[str]:
    """Make a study smaller that would take long, or fetch weights."""
    options = parser().parse_args(words)
    if words[0] not in ("run", "plan", "choose", "features"):
        return words
    study = options.study or ("own" if options.dataset else "default")
    if words == ["choose", "default"]:  # it refuses what is too small to tell backends apart
        return [*words, "--set", "generated.products=1500"]
    more = [added for what, added in SHRUNK.items() if what == study or what in " ".join(words[1:])]
    words = [*words, *(word for added in more if added[-1] not in words for word in added)]
    if options.verb == "run" and options.seeds:
        words[words.index("--seeds") + 1] = "2"
    return words


def run(command: Command, made: dict[Path, str], done: dict[str, Path]) -> None:
    """Type a command of shelfbench; a study that others have run into the same folder begins anew."""
    words = typed(command)
    if words[0] in ("--help", "--version", "--print-completion"):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        return
    if words[0] == "generate" and words[1] == PLACEHOLDERS["DIR"]:
        words[1] = "generated"
    options = parser().parse_args(words)
    if words[0] == "watch" and json.loads((options.decision / "decision.json").read_text("utf-8"))["verdict"] != "PASS":
        return  # after so many tries on so few products, and what is watched on the page of `watch` has passed
    out = (options.out or stand_ins.default_out(options)) if words[0] == "run" else None
    if out and out.exists() and made.get(out) != command.text:
        shutil.rmtree(out)
    if out and command.text in done:  # on an earlier page
        shutil.copytree(done[command.text], out)
    code = main([*shrunk(words), "--quiet"])
    assert code in FINE.get(words[0], (0,)), command.text
    done[command.text] = Path()
    if out:
        made[out] = command.text
        done[command.text] = out.resolve()
    if words[0] == "label":
        stand_ins.filled_in(options.out)


def do(command: Command, made: dict[Path, str], done: dict[str, Path]) -> None:
    if command.words[0] == "shelfbench":
        run(command, made, done)
    else:
        assert command.words[0] == "python", f"{command.text}: say why it is not run"
        words = [sys.executable, *command.words[1:]]
        ended = subprocess.run(words, env={"PYTHONPATH": PYTHONPATH}, capture_output=True)
        assert ended.returncode == 0, (command.text, ended.stderr.decode()[-500:])


# options.md is written from --help: its examples are of no one shop, and their verbs are run on the other pages
@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page) and page.name != "options.md"], ids=lambda page: page.name
)
def test_the_commands_of_a_page_work_one_after_the_other(page, here, done):
    made: dict[Path, str] = {}
    seen: set[str] = set()
    for command in commands(page):
        if command.text in seen or why_not(command):
            continue
        if not command.block and (command.text in done or mentions(command.text)):
            continue
        seen.add(command.text)
        do(command, made, done)


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_works(page, here, monkeypatch):
    if page.name == "merging.md":  # it shows what the command before it has made
        assert main(["run", "--dataset", "PATH", "--backend", "hog-svm", "--seeds", "2", "--out", "results/draws"]) == 0
    monkeypatch.syspath_prepend(here)
    for number, body in enumerate(python_of(page)):
        name = f"{page.stem.replace('-', '_')}_{number}"
        body = body.replace("seeds=5", 'seeds=2, backends=["hog-svm"]')
        (here / f"{name}.py").write_text(f"import shelfbench\n{body}", encoding="utf-8")
        assert import_module(name)


def test_the_service_of_the_document_answers_a_photo(here):
    names = {}
    for body in python_of(ROOT / "docs" / "serving.md"):
        exec(body, names)
    server = names["server"](names["answer"], 0)
    with server, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(server.serve_forever)
        photo = next((here / "new-photos").rglob("*.jpg"))
        for body in (photo.read_bytes(), b"no photo"):
            request = Request(f"http://127.0.0.1:{server.server_port}/4711", data=body)
            with urlopen(request, timeout=60) as reply:
                told = json.load(reply)
            assert told["product"] == "4711"
            if body != b"no photo":
                [known] = names["decision"].classify(photo).to_dict("records")
                assert told["category"] == known["category"]
        assert (told["category"], told["confidence"]) == ("review", None)
        server.shutdown()
        serving.result()


def test_every_reason_is_needed():
    every = [command for page in PAGES for command in commands(page)]
    needed = {pattern for pattern in NOT_RUN for command in every if re.search(pattern, command.text)}
    assert needed == set(NOT_RUN)
    named = re.findall(r"\btests/[\w/]+(?:\.py)?", " ".join(NOT_RUN.values()))
    assert len(named) > 4
    assert all((ROOT / place).exists() for place in named)
