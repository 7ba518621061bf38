import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import empathy_lens
from empathy_lens.errors import InputError
from empathy_lens.files import (
    atomic_path,
    check_writable,
    file_stem,
    read_json,
    remove_leftovers,
    sha256_file,
    write_json,
    write_text,
)


def test_text_and_json_come_back_as_they_were_written(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "naïve\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "naïve\n".encode()
    data = {"value": 0.1, "names": ["ä", "→"], "none": None}
    write_json(tmp_path / "data.json", data)
    assert read_json(tmp_path / "data.json") == data


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_the_old_file_stands_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.json"
    write_text(path, "old")

    def stop_midway():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        stop_midway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_absent_until_it_is_whole(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
        assert temporary.parent.parent == path.parent
    assert path.read_text() == "all"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_may_replace_the_temporary_file_itself(tmp_path):
    path = tmp_path / "weights.bin"
    with atomic_path(path) as temporary:
        temporary.unlink()
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


WRITER = """
import sys, types
package = sys.modules["empathy_lens"] = types.ModuleType("empathy_lens")
package.__path__ = [sys.argv[1]]
from pathlib import Path
from empathy_lens.files import atomic_path
with atomic_path(Path(sys.argv[2])) as temporary:
    temporary.with_name(".tmpOfSomeLibrary").write_text("half of the n")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_killed_write_is_cleared_away_and_a_living_one_stays(tmp_path):
    path = tmp_path / "probes" / "result.bin"
    command = [sys.executable, "-c", WRITER, str(Path(empathy_lens.__file__).parent), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        begun = list(path.parent.rglob(".tmp*"))
        remove_leftovers(tmp_path)
        assert list(path.parent.rglob(".tmp*")) == begun != []
        writer.kill()
    remove_leftovers(tmp_path)
    assert list(path.parent.iterdir()) == []


def test_the_first_write_in_a_folder_clears_what_a_kill_left_there(tmp_path):
    for left in (".abcdefgh.part", ".ABCDEFGH.part"):
        (tmp_path / left).mkdir()
    (tmp_path / ".abcdefgh.part" / ".lock").touch()
    (tmp_path / ".abcdefgh.part" / "result.json").write_text("half of the n")
    (tmp_path / "film.mp4.part").write_text("not ours")
    write_text(tmp_path / "result.json", "new")
    assert {p.name for p in tmp_path.iterdir()} == {"result.json", "film.mp4.part"}


def test_written_files_are_readable_like_any_other(tmp_path):
    previous = os.umask(0o022)
    try:
        write_text(tmp_path / "shared.txt", "x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "shared.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_json_are_refused_and_leave_the_old_file(tmp_path, value):
    path = tmp_path / "data.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": value})
    assert read_json(path) == {"value": 1}


def test_a_fault_in_json_is_named_with_file_line_and_column(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('{\n  "a": 1,\n  "b": oops\n}')
    with pytest.raises(InputError, match=r"data\.json:3:8: not valid JSON"):
        read_json(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.json: no such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "latin.json").write_bytes('"\xe9"'.encode("latin-1"))
    with pytest.raises(InputError, match="expected UTF-8 text, byte 1 is not"):
        read_json(tmp_path / "latin.json")


def test_json_nested_too_deeply_is_an_input_error(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"deep\.json: .*nested"):
        read_json(path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_file(path).startswith("ba7816bf8f01cfea")


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_with_advice(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="choose another folder with --out"):
            check_writable(folder)


def test_a_json_file_ends_with_a_newline_and_is_utf8(tmp_path):
    write_json(tmp_path / "a.json", {"ä": 1})
    raw = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert raw.endswith("}\n")
    assert "ä" in raw
    assert json.loads(raw) == {"ä": 1}


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/b", "a\0b", "..", "", " ", "-rf", "x" * 300, "ж" * 300, "\ud800"],
)
def test_any_name_becomes_one_part_of_a_path(tmp_path, name):
    write_text(tmp_path / f"{file_stem(name)}_direction_layer_1.npy", "x")
    (made,) = tmp_path.iterdir()
    assert made.is_file()
    assert not made.name.startswith((".", "-"))


def test_long_names_stay_apart():
    assert file_stem("x" * 300 + "a") != file_stem("x" * 300 + "b")
