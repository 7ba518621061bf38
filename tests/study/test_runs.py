"""Which run a folder belongs to: its identity, and its lock."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import empathy_lens
from empathy_lens.errors import InputError
from empathy_lens.files import read_json, write_json, write_text
from empathy_lens.study.identity import code_commit, new_identity
from empathy_lens.study.runs import Run

PACKAGE = Path(empathy_lens.__file__).parent


def begun(folder, asked, *, resume):
    with Run(folder, resume=resume) as run:
        run.begin(asked)
    return run.identity


def test_a_resumed_run_keeps_its_id_and_date_as_long_as_the_same_is_asked(tmp_path):
    first = begun(tmp_path, ["seed", 0], resume=False)
    assert begun(tmp_path, ["seed", 0], resume=True) == first
    other = begun(tmp_path, ["seed", 1], resume=True)
    assert other.id != first.id
    assert begun(tmp_path, ["seed", 1], resume=False).id != other.id


def test_equal_runs_of_one_date_are_one_and_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, again = (begun(tmp_path / name, ["seed", 0], resume=False) for name in ("a", "b"))
    assert first == again
    assert first.started == "2023-11-14T22:13:20Z"
    assert new_identity(["seed", 1]).id != first.id
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH: expected whole seconds"):
        new_identity([])


def test_the_commit_is_that_of_the_checkout_and_says_where_its_code_was_changed(tmp_path):
    (tmp_path / "empathy_lens").mkdir()
    code = tmp_path / "empathy_lens" / "code.py"
    code.write_text("1")
    assert code_commit(tmp_path) is None
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    code_commit.cache_clear()
    commit = code_commit(tmp_path)
    assert len(commit) == 40
    code.write_text("2")
    code_commit.cache_clear()
    assert code_commit(tmp_path) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "change", [{"files": {}}, {"files": {"../out.txt": "0"}}, {"name": "other"}, {"seconds": "1"}]
)
def test_a_stage_whose_record_is_damaged_is_run_again(tmp_path, change):
    def stage():
        with Run(tmp_path, resume=True) as run:
            run.stage("work", [1], ["out.txt"], lambda: write_text(tmp_path / "out.txt", "done"))

    stage()
    record = tmp_path / ".stages" / "work.json"
    write_json(record, read_json(record) | change)
    (tmp_path / "out.txt").unlink()
    stage()
    assert (tmp_path / "out.txt").read_text() == "done"


def test_newer_code_goes_on_with_a_run_under_its_own_name(tmp_path):
    with Run(tmp_path) as run:
        run.begin([])
        started = replace(run.identity, version="0.0.1", commit="abc")
        run.join(started)
    assert (run.identity.id, run.identity.started) == (started.id, started.started)
    assert run.identity.version == empathy_lens.__version__


HOLDER = """
import sys, types
package = sys.modules["empathy_lens"] = types.ModuleType("empathy_lens")
package.__path__ = [sys.argv[1]]
from pathlib import Path
from empathy_lens.files import locked
with locked(Path(sys.argv[2]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_refused_while_another_process_runs_in_it_and_free_once_that_is_killed(
    tmp_path,
):
    command = [sys.executable, "-c", HOLDER, str(PACKAGE), str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        says = f"{tmp_path}: another run writes there .process {other.pid} on .* since 20.*wait"
        with pytest.raises(InputError, match=says):
            Run(tmp_path)
        other.kill()
    with Run(tmp_path), pytest.raises(InputError, match="another run writes there"):
        Run(tmp_path)
    Run(tmp_path)
