"""Activations are computed once for the same model, precision, pooling and tokens."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from empathy_lens.activations import (
    extract_activations,
    extract_completions,
    extract_poolings,
    shards,
)
from empathy_lens.activations.shards import KIND, SEAL
from empathy_lens.errors import InputError
from empathy_lens.files import locked
from empathy_lens.types import ContrastivePair, RubricCompletion, Site

PAIRS = [
    ContrastivePair("a", "s1", "I stop and help the man up.", "I ride on.", "A man fell there."),
    ContrastivePair("b", "s1", "Stay.", "Leave, the clock is running.", ""),
    ContrastivePair("c", "s2", "We share the last of it.", "I keep it.", "Food is short here."),
]


@pytest.fixture
def passes(tiny_gemma2, monkeypatch):
    """Shapes of the passes that the model has run."""
    run, seen = type(tiny_gemma2).run_with_cache, []

    def counted(self, *args, **kwargs):
        seen.append(tuple(args[0].shape))
        return run(self, *args, **kwargs)

    monkeypatch.setattr(type(tiny_gemma2), "run_with_cache", counted)
    return seen


def test_the_second_time_nothing_is_computed(tiny_gemma2, tmp_path, passes):
    first = extract_poolings(tiny_gemma2, PAIRS, cache=tmp_path)
    assert passes
    passes.clear()
    second = extract_poolings(tiny_gemma2, PAIRS, cache=tmp_path)
    some = extract_activations(tiny_gemma2, PAIRS[::-1], layers=[1, 3], cache=tmp_path)
    assert not passes
    for pooling, found in first.items():
        assert torch.equal(second[pooling].values, found.values)
    rows = [4, 5, 2, 3, 0, 1]
    assert torch.equal(some.values, first["mean"].values[rows][:, [1, 3]])


def test_who_comes_second_says_that_it_waits_and_computes_nothing_twice(
    tiny_gemma2, tmp_path, passes, monkeypatch
):
    expected = extract_activations(tiny_gemma2, PAIRS, cache=tmp_path / "first")
    passes.clear()
    told = threading.Event()
    monkeypatch.setattr(shards.log, "filters", [lambda record: told.set() or True])
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "shared" / shards.LOCK, pytest.fail):
            second = pool.submit(extract_activations, tiny_gemma2, PAIRS, cache=tmp_path / "shared")
            assert told.wait(30)
            shutil.copytree(tmp_path / "first", tmp_path / "shared", dirs_exist_ok=True)
        assert torch.equal(second.result().values, expected.values)
    assert not passes


def test_only_new_texts_are_computed(tiny_gemma2, tmp_path, passes):
    extract_activations(tiny_gemma2, PAIRS[:2], cache=tmp_path)
    passes.clear()
    found = extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
    # The third pair's prompt, and its two completions.
    assert [rows for rows, _ in passes] == [1, 2]
    expected = extract_activations(tiny_gemma2, PAIRS)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-4)


def test_a_text_is_known_however_it_comes(tiny_gemma2, tmp_path, passes):
    """What counts are tokens and where the completion starts, not pairs or completions."""
    extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
    passes.clear()
    completion = RubricCompletion("x", "s1", 2, PAIRS[0].positive, PAIRS[0].prompt)
    extract_completions(tiny_gemma2, [completion], cache=tmp_path)
    assert not passes
    bare = RubricCompletion("y", "s1", 2, PAIRS[0].positive)
    extract_completions(tiny_gemma2, [bare], cache=tmp_path)
    assert passes


@pytest.mark.parametrize("other", [{"pooling": "last"}, {"precision": "bfloat16"}])
def test_another_pooling_or_precision_is_computed(tiny_gemma2, tmp_path, passes, other):
    extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
    passes.clear()
    found = extract_activations(tiny_gemma2, PAIRS, cache=tmp_path, **other)
    assert passes
    assert torch.equal(found.values, extract_activations(tiny_gemma2, PAIRS, **other).values)


def test_deeper_layers_than_were_kept_are_computed(tiny_gemma2, tmp_path, passes):
    extract_activations(tiny_gemma2, PAIRS, layers=[0], cache=tmp_path)
    passes.clear()
    extract_activations(tiny_gemma2, PAIRS, layers=[0, 1], cache=tmp_path)
    assert passes


def test_another_model_is_computed(tiny_gemma2, tiny_llama, tmp_path, passes):
    extract_activations(tiny_llama, PAIRS, cache=tmp_path)
    passes.clear()
    extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
    assert passes


def test_a_steered_model_is_not_cached(tiny_gemma2, tmp_path):
    hooks = [(Site(1).hook_name, lambda value, hook: value + 1)]
    with tiny_gemma2.hooks(fwd_hooks=hooks), pytest.raises(InputError, match="carries hooks"):
        extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)


@pytest.mark.parametrize("old", [False, True])
def test_a_list_of_texts_that_is_one_short_gives_no_other_texts_values(tiny_gemma2, tmp_path, old):
    """Files older than the checksum of the list have its length alone."""
    extract_activations(tiny_gemma2, PAIRS, layers=[0], cache=tmp_path)
    path = max(tmp_path.rglob("*.safetensors"), key=lambda p: p.stat().st_size)
    with safe_open(path, framework="pt") as file:
        described, values = json.loads(file.metadata()[KIND]), file.get_tensor("values")
    del described["texts"][0]
    if old:
        del described[SEAL]
    save_file({"values": values}, path, {KIND: json.dumps(described)})
    with pytest.raises(InputError, match=f"{path.name} is damaged .*delete it"):
        extract_activations(tiny_gemma2, PAIRS, layers=[0], cache=tmp_path)


def test_a_damaged_file_is_named(tiny_gemma2, tmp_path):
    extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
    path = next(tmp_path.rglob("*.safetensors"))
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=f"{path.name} is damaged .*delete it"):
        extract_activations(tiny_gemma2, PAIRS, cache=tmp_path)
