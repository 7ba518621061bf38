"""A store survives kills, knows whose it is, and notices damage."""

import json
import os
import subprocess
import sys
from itertools import count

import pytest
import torch

from empathy_lens.activations import open_store, pooled_resid_post, stream_activations
from empathy_lens.activations import shards as shards_module
from empathy_lens.activations.store import ActivationStore, StoreIndex
from empathy_lens.errors import InputError, NonFiniteError
from empathy_lens.files import locked
from empathy_lens.results import read_result, write_result
from empathy_lens.types import Site

PROMPT = "A man fell on the road, and it is late."
TEXTS = [
    (PROMPT if i % 3 == 0 else "", f"{'We wait. ' * (i % 5 + 1)}Number {i}.") for i in range(23)
]
OPTIONS = {"window": 10, "batch_tokens": 90}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_store_holds_what_extraction_gives(tiny_llama, tmp_path):
    progress = []
    store = stream_activations(
        tiny_llama, iter(TEXTS), tmp_path / "s", progress=progress.append, **OPTIONS
    )
    assert (len(store), len(list(store)), store.complete) == (23, 3, True)
    assert progress == [10, 20, 23]
    expected, n_tokens = pooled_resid_post(tiny_llama, TEXTS, layers=range(3))
    torch.testing.assert_close(torch.cat(list(store)), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(store.at(2), expected[:, 2], rtol=1e-4, atol=1e-4)
    assert tuple(store.n_tokens().tolist()) == n_tokens
    assert not (tmp_path / "s" / "parts").exists()
    reopened = open_store(tmp_path / "s")
    assert isinstance(reopened, ActivationStore)
    assert reopened == store


def test_a_stores_index_survives_read_and_write_and_may_lack_newer_fields(tiny_llama, tmp_path):
    folder = tmp_path / "s"
    store = stream_activations(tiny_llama, TEXTS, folder, **OPTIONS)
    before = (folder / "index.json").read_bytes()
    write_result(folder / "index.json", read_result(folder / "index.json", StoreIndex))
    assert (folder / "index.json").read_bytes() == before
    older = json.loads(before)
    del older["made_with"]["provenance"]["precision"]
    (folder / "index.json").write_text(json.dumps(older))
    assert open_store(folder) == store


def test_a_second_writer_is_refused_before_it_reads_or_writes_anything(tiny_llama, tmp_path):
    with locked(tmp_path / shards_module.LOCK, pytest.fail):
        before = contents(tmp_path)
        with pytest.raises(InputError, match=r"another process writes this store \(process"):
            stream_activations(tiny_llama, TEXTS, tmp_path, **OPTIONS)
        assert contents(tmp_path) == before


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", range(1, 9, 2))
def test_a_store_interrupted_at_any_write_is_finished_to_the_same_bytes(
    tiny_llama, tmp_path, monkeypatch, at
):
    """Parts, shards and the index: the process may end before or after any of them is written."""
    stream_activations(tiny_llama, TEXTS, tmp_path / "whole", **OPTIONS)
    folder = tmp_path / "cut"
    writes, real = count(1), os.replace

    def replace(self, target):
        number = next(writes)
        if number == at:
            raise Stop
        real(self, target)
        if number == at + 1:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", replace)
        with pytest.raises(Stop):
            stream_activations(tiny_llama, TEXTS, folder, **OPTIONS)
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    left = folder / "parts" / ".halfhalf.part"
    left.mkdir()
    for name in (".lock", ".tmpHALF"):
        (left / name).write_bytes(b"torn")
    stream_activations(tiny_llama, TEXTS, folder, **OPTIONS)
    assert contents(folder) == contents(tmp_path / "whole")


def test_what_is_finished_is_not_computed_again(tiny_gemma2, tmp_path, monkeypatch):
    """Of an interrupted window only the passes that no part holds are run."""
    run = type(tiny_gemma2).run_with_cache
    passes = []

    def counted(self, *args, **kwargs):
        passes.append(args[0].shape)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(type(tiny_gemma2), "run_with_cache", counted)
    plain = [("", text) for _, text in TEXTS]
    stream_activations(tiny_gemma2, plain, tmp_path / "whole", **OPTIONS)
    every = list(passes)
    passes.clear()

    def stop_after(n):
        def hooked(self, *args, **kwargs):
            if len(passes) == n:
                raise Stop
            return counted(self, *args, **kwargs)

        return hooked

    monkeypatch.setattr(type(tiny_gemma2), "run_with_cache", stop_after(3))
    with pytest.raises(Stop):
        stream_activations(tiny_gemma2, plain, tmp_path / "cut", **OPTIONS)
    monkeypatch.setattr(type(tiny_gemma2), "run_with_cache", counted)
    stream_activations(tiny_gemma2, plain, tmp_path / "cut", **OPTIONS)
    assert passes == every
    stream_activations(tiny_gemma2, plain, tmp_path / "cut", **OPTIONS)
    assert passes == every


KILLS = """
import os, pathlib, signal, sys, time
import torch
from empathy_lens.activations import stream_activations
from empathy_lens.models import load_model

checkpoint, backend, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
torch.set_num_threads(1)  # A fork has no copy of a pool's threads.
model = load_model(checkpoint, backend=backend, device="cpu")
texts = [("", "We wait. " * (i % 5 + 1) + str(i)) for i in range(60)]
read = lambda name: stream_activations(model, texts, folder / name, window=30, batch_tokens=90)
read("whole")


def shards():
    # os.walk, unlike rglob, passes over a temporary folder that goes while it looks.
    files = {(at, name) for at, _, names in os.walk(folder / "cut") for name in names}
    return {(at, name) for at, name in files if name.endswith(".safetensors")}


for more in (2, 5, 3):
    before = shards()
    child = os.fork()
    if child == 0:
        read("cut")
        os._exit(0)
    while len(shards() - before) < more:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it was done before it was killed"
    print(len(shards()), flush=True)
read("cut")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of one process")
def test_a_process_killed_three_times_leaves_the_bytes_of_one_that_was_not(
    tiny_llama_folder, tmp_path
):
    command = [sys.executable, "-c", KILLS, str(tiny_llama_folder), "auto", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_another_models_store_is_refused(tiny_llama, tiny_gemma2, tmp_path):
    stream_activations(tiny_llama, TEXTS, tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match="made with another model: model_name"):
        stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", layers=[0, 1, 2], **OPTIONS)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"layers": [1]}, "layers"), ({"pooling": "last"}, "pooling"), ({"window": 5}, "window")],
)
def test_a_store_made_with_other_settings_is_refused(tiny_gemma2, tmp_path, change, named):
    stream_activations(tiny_gemma2, TEXTS[:10], tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match=f"another {named} .*choose another folder"):
        stream_activations(tiny_gemma2, TEXTS[:10], tmp_path / "s", **{**OPTIONS, **change})


def test_a_store_of_other_texts_is_refused(tiny_gemma2, tmp_path):
    stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)
    other = [*TEXTS[:12], ("", "Something else."), *TEXTS[13:]]
    with pytest.raises(InputError, match="texts 10 to 19 are not those"):
        stream_activations(tiny_gemma2, other, tmp_path / "s", **OPTIONS)
    with pytest.raises(InputError, match="more texts than the 10 given"):
        stream_activations(tiny_gemma2, TEXTS[:10], tmp_path / "s", **OPTIONS)


def test_a_damaged_shard_is_named_and_made_anew_once_it_is_deleted(tiny_gemma2, tmp_path):
    store = stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)
    before = contents(tmp_path / "s")
    path = tmp_path / "s" / "shard-00001.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"shard-00001\.safetensors is damaged .*delete it"):
        list(store)
    path.write_bytes(damaged[:100])
    with pytest.raises(InputError, match=r"shard-00001\.safetensors is damaged"):
        list(store)
    path.unlink()
    with pytest.raises(InputError, match=r"lacks shard-00001\.safetensors"):
        open_store(tmp_path / "s")
    stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)
    assert contents(tmp_path / "s") == before


def test_a_full_disk_is_said_and_what_is_finished_is_kept(tiny_gemma2, tmp_path, monkeypatch):
    real, calls = shards_module.save_file, count()

    def save_file(*args):
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_file", save_file)
        with pytest.raises(InputError, match="the disk is full; make room"):
            stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)
    assert len(list((tmp_path / "s" / "parts").glob("*.safetensors"))) == 3
    stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)
    stream_activations(tiny_gemma2, TEXTS, tmp_path / "t", **OPTIONS)
    assert contents(tmp_path / "s") == contents(tmp_path / "t")


def test_a_value_that_is_not_finite_names_its_text_in_the_stream(tiny_gemma2, tmp_path):
    """The weights themselves are broken here: a store takes no model with hooks on it."""
    broken = [*TEXTS[:14], ("", "zzzz"), *TEXTS[15:]]
    texts = [
        (prompt, text.replace("z", "y")) if text != "zzzz" else (prompt, text)
        for prompt, text in broken
    ]
    embedding = next(p for n, p in tiny_gemma2.named_parameters() if "embed" in n.lower())
    token = tiny_gemma2.tokenizer("z", add_special_tokens=False).input_ids[0]
    kept = embedding[token].clone()
    try:
        embedding[token] = float("nan")
        with pytest.raises(NonFiniteError, match=r"blocks\.0\..*position 1 of text 14 "):
            stream_activations(tiny_gemma2, texts, tmp_path / "s", **OPTIONS)
    finally:
        embedding[token] = kept
    assert (tmp_path / "s" / "shard-00000.safetensors").is_file()


def test_a_model_with_hooks_on_it_is_refused(tiny_gemma2, tmp_path):
    hooks = [(Site(1).hook_name, lambda value, hook: value)]
    with tiny_gemma2.hooks(fwd_hooks=hooks), pytest.raises(InputError, match="carries hooks"):
        stream_activations(tiny_gemma2, TEXTS, tmp_path / "s", **OPTIONS)


def test_texts_are_taken_a_window_at_a_time(tiny_gemma2, tmp_path):
    taken = []

    def source():
        for number, text in enumerate(TEXTS):
            taken.append(number)
            yield text

    done = []

    def note(n):
        done.append((n, len(taken)))

    stream_activations(tiny_gemma2, source(), tmp_path / "s", progress=note, **OPTIONS)
    assert done == [(10, 10), (20, 20), (23, 23)]


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"index\.json: no such file"):
        open_store(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="expected the index of an activation store"):
        open_store(tmp_path)
