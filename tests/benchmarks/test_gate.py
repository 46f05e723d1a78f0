"""The gate end to end, on its quickest row and on checkouts that are made up."""

import subprocess

import pytest

from tests.benchmarks import gate
from tests.benchmarks.paired import Interval, Outcome

QUICK = "bootstrap"
FOUND = Interval(1.3, 1.2, 1.4, 6)


@pytest.fixture
def short_turns(monkeypatch):
    monkeypatch.setattr(gate, "TURN", 0.02)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One of two commits on main, in which the gate believes itself to be."""

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--initial-branch=main")
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        git("add", "file")
        git("commit", "--message", text)
    monkeypatch.setattr(gate, "ROOT", tmp_path)
    monkeypatch.setattr(gate, "OUT", tmp_path / "benchmarks")
    return git


def test_a_planted_slow_down_fails(short_turns, capsys):
    """Fourfold, for this machine may be shared with other tests; 30% is what `test_paired` plants."""
    assert gate.outcome_of(QUICK, gate.ROOT, 3.0).verdict == "slower"
    assert "slower" in capsys.readouterr().out


def test_what_the_base_lacks_is_said_and_does_not_pass_silently(tmp_path, short_turns, capsys):
    outcome = gate.outcome_of(QUICK, tmp_path, 0.0)
    assert outcome == Outcome("not compared", ())
    assert "the base lacks it: it has no shelfbench.verdict.intervals.bootstrap_intervals" in capsys.readouterr().out
    assert gate.exit_code({QUICK: outcome, "decode": Outcome("fine", (FOUND,))}) == 3


def test_a_base_that_fails_is_not_compared(tmp_path, capsys):
    broken = tmp_path / "bench" / "shelfbench" / "verdict"
    broken.mkdir(parents=True)
    (broken.parent / "__init__.py").touch()
    (broken / "intervals.py").write_text("def bootstrap_intervals(*args, **kwargs):\n    raise OSError('no luck')\n")
    assert gate.outcome_of(QUICK, tmp_path, 0.0).verdict == "not compared"
    assert "the base lacks it: it stopped: OSError: no luck" in capsys.readouterr().out


def test_a_working_tree_that_fails_is_an_error(tmp_path, monkeypatch, capsys):
    def answer(side, key):
        raise gate.LacksError("it stopped: OSError: no luck")

    monkeypatch.setattr(gate.Side, "answer", answer)
    outcome = gate.outcome_of(QUICK, tmp_path, 0.0)
    assert outcome.verdict == "failed"
    assert "on the working tree, it stopped: OSError: no luck" in capsys.readouterr().out
    assert gate.exit_code({QUICK: outcome}) == 1


def test_exit_codes(capsys):
    def code(*verdicts):
        return gate.exit_code({str(number): Outcome(verdict, ()) for number, verdict in enumerate(verdicts)})

    assert code("fine", "unclear") == 0
    assert code("fine", "slower", "not compared") == 1
    assert code("failed") == 1
    assert code("fine", "not compared") == 3
    assert "slower by more than 10%, twice: 1" in capsys.readouterr().out


def test_the_table_has_a_line_for_each_launch_and_for_rows_that_had_none():
    found = gate.table({"a": Outcome("slower", (FOUND, FOUND)), "b": Outcome("not compared", ())})
    assert found[["row", "launch", "pairs"]].fillna(0).to_numpy().tolist() == [["a", 1, 6], ["a", 2, 6], ["b", 1, 0]]
    assert list(found) == gate.COLUMNS


def test_the_base_is_where_a_branch_began(repository):
    main = repository("rev-parse", "HEAD")
    repository("checkout", "-b", "mine")
    (gate.ROOT / "file").write_text("third")
    repository("commit", "--all", "--message", "third")
    assert gate.base_commit() == main


def test_the_base_of_main_is_its_parent_or_itself_where_something_changed(repository):
    assert gate.base_commit() == repository("rev-parse", "HEAD^")
    (gate.ROOT / "file").write_text("changed")
    assert gate.base_commit() == repository("rev-parse", "HEAD")


def test_a_history_that_ends_too_soon(repository):
    repository("checkout", "--orphan", "other")
    repository("commit", "--message", "no common history")
    with pytest.raises(SystemExit, match="name one with --base"):
        gate.base_commit()


def test_the_checkout_is_removed_also_one_that_was_left_behind(repository, capsys):
    for _ in range(2):
        with gate.checkout("HEAD^") as folder:
            assert (folder / "file").read_text() == "first"
        assert not folder.exists()
    repository("worktree", "add", "--detach", str(gate.OUT / "base"), "HEAD")  # of a gate that was stopped
    with gate.checkout("HEAD^") as folder:
        assert (folder / "file").read_text() == "first"
    assert repository("worktree", "list").count("\n") == 0
    with pytest.raises(SystemExit), gate.checkout("nothing"):
        pass
    assert "nothing" in capsys.readouterr().err


def test_roots_of_either_layout(tmp_path):
    assert gate.roots(tmp_path) == [tmp_path]
    (tmp_path / "bench" / "shelfbench").mkdir(parents=True)
    (tmp_path / "bench" / "shelfbench" / "__init__.py").touch()
    assert gate.roots(tmp_path) == [tmp_path / "bench"]


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        gate.main(["--row", "nonsense"])
    assert stopped.value.code == 2
    assert "acceptance curve; bootstrap" in capsys.readouterr().err
