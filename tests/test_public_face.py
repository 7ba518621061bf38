"""What ``import empathy_lens as el`` offers, and how objects show themselves."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import empathy_lens as el
from empathy_lens.data import prompts, save_pairs, shipped_data
from empathy_lens.directions import pca_differences, sides
from empathy_lens.errors import InputError
from empathy_lens.evidence.validation import group_folds

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HONEST = [f"I told her the truth about number {i}." for i in range(8)]
FALSE = [f"I told her a story about number {i}, and hid it." for i in range(8)]


def test_every_offered_name_is_there_and_listed():
    assert dir(el) == sorted(el.__all__)
    assert [name for name in el.__all__ if getattr(el, name, None) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = el.nothing


def test_importing_it_loads_nothing_heavy():
    code = "import sys, empathy_lens; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_version_is_that_of_the_project():
    assert el.__version__ == PYPROJECT["project"]["version"]


def test_shipped_data_are_found_beside_a_checkout_and_inside_an_installed_package(
    tmp_path, monkeypatch
):
    assert shipped_data() == ROOT / "data"
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (wheel["only-include"], wheel["sources"]) == (
        ["empathy_lens", "data"],
        {"data": "empathy_lens/shipped"},
    )
    installed = tmp_path / "empathy_lens" / "shipped"
    monkeypatch.setattr(prompts, "files", lambda package: tmp_path / package)
    with pytest.raises(InputError, match="the shipped data are missing"):
        shipped_data()
    (installed / "contrastive_pairs").mkdir(parents=True)
    assert shipped_data() == installed


def test_lists_become_pairs_that_a_direction_is_found_with(tiny_llama):
    pairs = el.pairs_from(HONEST, FALSE, concept="honesty", poles=("honest", "false"))
    activations = el.extract_activations(tiny_llama, pairs)
    layer = el.select_layer(activations).layer
    direction = el.fit_direction(activations, layer)
    assert direction.concept.positive == "honest"
    assert "honesty: honest - false" in repr(direction)
    assert "8 pairs" in repr(activations)
    assert all(len(repr(x)) < 250 for x in (direction, activations, pairs[0]))
    assert el.validate_direction(direction, activations, n_resamples=200).auroc.value > 0.5
    assert (-direction).concept.positive == "false"


def test_lists_of_unequal_length_fit_a_direction_and_what_needs_pairs_says_so(tiny_llama):
    texts = el.pairs_from(HONEST, FALSE[:5], concept="honesty", paired=False)
    activations = el.extract_activations(tiny_llama, texts)
    assert activations.values.shape[0] == 13
    assert "13 unpaired texts" in repr(activations)
    for estimator in ("mean_difference", "lda", "logistic"):
        assert el.fit_direction(activations, 1, estimator).raw_norm > 0
    chosen = el.select_layer(activations)
    direction = el.fit_direction(activations, chosen.layer)
    validation = el.validate_direction(direction, activations, n_resamples=200)
    assert validation.auroc.n_groups == 13
    for estimator in ("pca_differences", pca_differences):
        with pytest.raises(InputError, match="pca_differences needs pairs"):
            el.fit_direction(activations, 1, estimator)
    with pytest.raises(InputError, match="expected pairs, these activations are of unpaired texts"):
        sides(activations, 1)
    with pytest.raises(InputError, match="expected texts of both poles, got 8 positive and 0"):
        el.fit_direction(activations.select(activations.labels), 1)


def test_folds_and_resamples_of_unpaired_texts_hold_both_classes(tiny_llama):
    texts = el.pairs_from(HONEST, FALSE[:5], paired=False)
    activations = el.extract_activations(tiny_llama, texts, layers=[1])
    folds = group_folds(activations.groups, activations.strata)
    for number in set(folds):
        assert set(activations.labels[folds == number].tolist()) == {True, False}


def test_ids_follow_the_texts_so_that_lists_can_be_joined(tmp_path):
    first, second = (el.pairs_from(HONEST[i : i + 4], FALSE[i : i + 4]) for i in (0, 4))
    assert first + second == el.pairs_from(HONEST, FALSE)
    assert len({p.group for p in first + second}) == 8
    save_pairs(tmp_path / "pairs.jsonl", first)
    assert el.load_pairs(tmp_path / "pairs.jsonl") == first


def test_unpaired_lists_of_equal_length_give_the_direction_of_pairs(tiny_llama):
    paired, unpaired = (
        el.fit_direction(
            el.extract_activations(tiny_llama, el.pairs_from(HONEST, FALSE, paired=paired)), 1
        )
        for paired in (True, False)
    )
    np.testing.assert_allclose(paired.vector, unpaired.vector, atol=1e-5)


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([], ["a"], "expected a list"),
        (["a"], "b", "expected a list"),
        (["a", " "], ["b", "c"], "text 1: expected text"),
        (["a", "b"], ["c"], "2 concept and 1 not concept texts"),
        (["a"], ["a "], "pair 0: both texts"),
        (["a", "b", "a"], ["c", "d", "c"], "pair 2 is the same as pair 0: 'a'"),
    ],
)
def test_lists_that_make_no_pairs_are_refused(positive, negative, message):
    with pytest.raises(InputError, match=message):
        el.pairs_from(positive, negative)


def test_an_estimator_may_return_numpy_and_is_named_when_it_fails(tiny_llama):
    activations = el.extract_activations(tiny_llama, el.pairs_from(HONEST, FALSE), layers=[1])

    def as_numpy(positive, negative):
        return (positive.mean(0) - negative.mean(0)).numpy().astype(np.float64)

    def broken(positive, negative):
        return positive @ negative

    def too_wide(positive, negative):
        return [1.0, 2.0]

    def not_finite(positive, negative):
        return positive[0] / 0.0

    np.testing.assert_allclose(
        el.fit_direction(activations, 1, as_numpy).vector,
        el.fit_direction(activations, 1).vector,
        atol=1e-6,
    )
    with pytest.raises(InputError, match="the estimator broken failed"):
        el.fit_direction(activations, 1, broken)
    with pytest.raises(InputError, match="the estimator not_finite: cannot normalise"):
        el.fit_direction(activations, 1, not_finite)
    with pytest.raises(InputError, match=r"the estimator too_wide: expected a vector of shape"):
        el.fit_direction(activations, 1, too_wide)
