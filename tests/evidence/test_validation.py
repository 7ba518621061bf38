import dataclasses
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_layers import PROVENANCE, planted_activations, truth

from empathy_lens.directions import check_same_model, fit_direction
from empathy_lens.errors import DegenerateDataError, EmpathyLensError, InputError
from empathy_lens.evidence.validation import (
    group_folds,
    out_of_fold_scores,
    scores,
    select_layer,
    validate_direction,
)

GAPS = [0.2, 0.5, 5.0, 1.0]


def groups_of(sizes):
    return [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=40),
    n_strata=st.integers(1, 5),
    n_folds=st.integers(2, 8),
    seed=st.integers(0, 1000),
)
def test_folds_cover_every_item_and_never_split_a_group(sizes, n_strata, n_folds, seed):
    groups = groups_of(sizes)
    strata = [f"s{int(g[1:]) % n_strata}" for g in groups]
    folds = group_folds(groups, strata, n_folds=n_folds, seed=seed)
    assert folds.shape == (len(groups),)
    assert folds.min() >= 0
    assert 2 <= len(np.unique(folds)) <= n_folds
    for group in set(groups):
        assert len({f for f, g in zip(folds, groups, strict=True) if g == group}) == 1


def test_folds_spread_the_strata_evenly():
    groups = groups_of([2] * 50)
    strata = [f"s{int(g[1:]) % 5}" for g in groups]
    folds = group_folds(groups, strata)
    for stratum in set(strata):
        inside = folds[np.array(strata) == stratum]
        assert np.bincount(inside, minlength=5).tolist() == [4] * 5


def test_folds_are_repeatable_and_change_with_the_seed():
    groups, strata = groups_of([2] * 30), ["s"] * 60
    first = group_folds(groups, strata, seed=1)
    assert (first == group_folds(groups, strata, seed=1)).all()
    assert (first != group_folds(groups, strata, seed=2)).any()


def test_a_stratum_smaller_than_the_folds_is_no_obstacle():
    groups = groups_of([2] * 12)
    folds = group_folds(groups, ["rare"] * 2 + ["usual"] * 22)
    assert len(np.unique(folds)) == 5


@pytest.mark.parametrize("sizes", [[8], [4, 4], [2, 2, 2]])
def test_too_few_groups_for_folds_are_refused(sizes):
    with pytest.raises(DegenerateDataError, match=f"at least 4 groups .*got {len(sizes)}"):
        group_folds(groups_of(sizes), ["s"] * sum(sizes))


def test_scores_are_zero_at_the_threshold_and_one_gap_wide():
    activations = planted_activations([5.0], n_pairs=50, offset=30.0)
    direction = fit_direction(activations, 0)
    values = scores(direction, activations)
    labels = activations.labels.numpy()
    assert values[labels].mean() == pytest.approx(0.5, abs=1e-4)
    assert values[~labels].mean() == pytest.approx(-0.5, abs=1e-4)


def test_layer_selection_finds_the_planted_layer():
    activations = planted_activations(GAPS, n_pairs=60)
    selection = select_layer(activations)
    assert selection.layer == 2
    assert selection.cv_auroc[2] > 0.99
    assert selection.cv_auroc[2] == max(selection.cv_auroc.values())
    assert list(selection.cv_auroc) == list(selection.cv_separation) == [0, 1, 2, 3]
    assert "5-fold cross-validation on training pairs" in selection.rule


@pytest.mark.parametrize("estimator", ["lda", "logistic", "pca_differences"])
def test_layer_selection_takes_any_estimator(estimator):
    assert select_layer(planted_activations(GAPS, n_pairs=40), estimator).layer == 2


def test_the_selected_layer_is_named_by_number_not_position():
    from empathy_lens.types import Site

    activations = planted_activations(GAPS, n_pairs=40)
    moved = dataclasses.replace(activations, sites=(Site(4), Site(8), Site(12), Site(16)))
    assert select_layer(moved).layer == 12


def test_ties_in_auroc_go_to_the_wider_separation():
    selection = select_layer(planted_activations([20.0, 80.0, 40.0], n_pairs=30))
    assert set(selection.cv_auroc.values()) == {1.0}
    assert selection.layer == 1


def test_layer_selection_uses_only_what_it_is_given():
    """Chosen on the training items, whatever the test items would have said."""
    activations = planted_activations(GAPS, n_pairs=60)
    train_items = torch.tensor([i < 80 for i in range(120)])
    spoilt = activations.values.clone()
    spoilt[~train_items] = 0.0
    other = dataclasses.replace(activations, values=spoilt)
    before = select_layer(activations.select(train_items))
    after = select_layer(other.select(train_items))
    assert before == after


def test_no_item_helps_to_fit_the_direction_that_scores_it():
    """Changing a fold's activations changes no other score of that fold."""
    activations = planted_activations(GAPS, n_pairs=30)
    folds = group_folds(activations.groups, activations.scenario_ids)
    before = out_of_fold_scores(activations, folds)
    fold = np.flatnonzero(folds == 0)
    changed, others = fold[:2], fold[2:]
    values = activations.values.clone()
    values[torch.from_numpy(changed)] += 50 * torch.randn(
        (2, 4, 32), generator=torch.Generator().manual_seed(1)
    )
    after = out_of_fold_scores(dataclasses.replace(activations, values=values), folds)
    assert len(others) > 0
    np.testing.assert_array_equal(after[:, others], before[:, others])
    assert (after[:, folds == 1] != before[:, folds == 1]).all()


def test_noise_scores_at_chance_though_it_could_be_fitted_perfectly():
    """More dimensions than pairs: in-sample AUROC would be 1."""
    activations = planted_activations([0.0] * 3, n_pairs=60, d_model=3000, seed=4)
    in_sample = scores(fit_direction(activations, 0), activations)
    assert ((in_sample > 0) == activations.labels.numpy()).all()
    selection = select_layer(activations)
    assert all(0.35 < auroc < 0.65 for auroc in selection.cv_auroc.values())


def test_texts_that_are_repeated_within_a_situation_bring_nothing():
    """Were a situation split over folds, its copies would be recognised."""
    once = planted_activations([0.0], n_pairs=60, d_model=400, pairs_per_group=3, seed=2)
    values = once.values.reshape(20, 3, 2, 1, 400).clone()
    values[:] = values[:, :1]
    copied = dataclasses.replace(once, values=values.reshape(120, 1, 400))
    assert select_layer(copied).cv_auroc[0] < 0.75
    split = np.tile(np.repeat(np.arange(3), 2), 20)
    leaked = out_of_fold_scores(copied, split)[0]
    assert ((leaked > 0) == copied.labels.numpy()).all()


def test_a_held_out_test_brackets_the_truth():
    train = planted_activations([3.0], n_pairs=200, seed=1)
    test = planted_activations([3.0], n_pairs=60, seed=2)
    result = validate_direction(fit_direction(train, 0), test, n_resamples=500)
    expected_auroc = 0.983  # two unit normals 3 apart: Phi(3 / sqrt(2))
    assert result.auroc.low <= expected_auroc <= result.auroc.high
    assert result.separation.low <= 3.0 <= result.separation.high
    assert result.accuracy.value == pytest.approx(0.933, abs=0.06)
    for estimate in (result.auroc, result.accuracy, result.separation):
        assert estimate.low <= estimate.value <= estimate.high
        assert (estimate.n_groups, estimate.seed) == (60, 0)
    assert set(vars(result)) == {"auroc", "accuracy", "separation", "fitted_on_these"}


def test_a_held_out_test_is_repeatable():
    train, test = planted_activations([1.0], seed=1), planted_activations([1.0], seed=2, n_pairs=20)
    direction = fit_direction(train, 0)
    first = validate_direction(direction, test, n_resamples=200, seed=3)
    assert first == validate_direction(direction, test, n_resamples=200, seed=3)
    assert first != validate_direction(direction, test, n_resamples=200, seed=4)


def test_the_threshold_comes_from_training_not_from_the_test_items():
    """Test items moved along the direction by a gap are all read as positive."""
    train = planted_activations([6.0], n_pairs=100)
    moved = planted_activations([6.0], n_pairs=20, offset=8.0, seed=1)
    result = validate_direction(fit_direction(train, 0), moved, n_resamples=200)
    assert result.auroc.value > 0.99
    assert result.accuracy.value == pytest.approx(0.5)


def test_a_direction_of_the_opposite_sign_scores_below_chance():
    train, test = planted_activations([4.0], seed=1), planted_activations([4.0], seed=2, n_pairs=20)
    direction = fit_direction(train, 0)
    assert torch.cosine_similarity(direction.vector, truth(0), dim=0) > 0.9
    assert validate_direction(-direction, test, n_resamples=100).auroc.value < 0.05


@pytest.mark.parametrize("changes", [{"weights_hash": "1" * 32}, {"weight_basis": "processed"}])
def test_a_direction_from_another_model_is_refused(changes):
    activations = planted_activations([3.0])
    direction = fit_direction(activations, 0)
    elsewhere = dataclasses.replace(PROVENANCE, model_name="other", **changes)
    other = dataclasses.replace(activations, provenance=elsewhere)
    for use in (scores, validate_direction, check_same_model):
        with pytest.raises(InputError, match=r"comes from planted .* activations from other"):
            use(direction, other)


def test_another_dtype_or_backend_of_one_model_is_accepted():
    activations = planted_activations([3.0])
    same = dataclasses.replace(PROVENANCE, dtype="bfloat16", backend="bridge", data_hash="x")
    check_same_model(
        fit_direction(activations, 0), dataclasses.replace(activations, provenance=same)
    )


@pytest.mark.parametrize(
    ("fitted", "used", "warned"),
    [
        ("chat, one bos", "chat, no bos", True),
        ("chat, no bos, dated 2026-07-26", "chat, no bos, dated 2026-07-27", True),
        ("plain, one bos", "plain, one bos", False),
        ("chat", "chat, no bos", False),
        ("", "chat, no bos", False),
    ],
)
def test_a_direction_fitted_on_other_tokens_is_named(fitted, used, warned):
    activations = planted_activations([3.0])
    direction = fit_direction(activations, 0)
    old = dataclasses.replace(PROVENANCE, prompt_format=fitted)
    new = dataclasses.replace(PROVENANCE, prompt_format=used, bos_rule="tokenizer")
    direction = dataclasses.replace(direction, provenance=old)
    other = dataclasses.replace(activations, provenance=new)
    message = f"'{fitted}'.* read as '{used}'"
    with pytest.warns(UserWarning, match=message) if warned else nullcontext():
        check_same_model(direction, other)


def test_too_few_situations_to_test_on_are_refused():
    train = planted_activations([3.0])
    direction = fit_direction(train, 0)
    for n_pairs in (1, 2):
        with pytest.raises(DegenerateDataError):
            validate_direction(direction, planted_activations([3.0], n_pairs=n_pairs))


def test_a_test_set_with_one_class_is_refused():
    train = planted_activations([3.0])
    with pytest.raises(DegenerateDataError):
        validate_direction(fit_direction(train, 0), train.select(train.labels))


def constant_layer():
    activations = planted_activations([3.0, 3.0], n_pairs=20)
    values = activations.values.clone()
    values[:, 0] = 1.0
    return dataclasses.replace(activations, values=values)


def test_a_layer_where_the_classes_coincide_is_a_clear_error():
    with pytest.raises(EmpathyLensError, match=r"layer 0: .* coincide"):
        select_layer(constant_layer())


def test_a_layer_without_spread_within_its_classes_does_not_stop_the_choice():
    """Cohen's d is undefined there; it must stay a finite number, as JSON has no other."""
    activations = planted_activations([3.0, 3.0], n_pairs=20)
    values = activations.values.clone()
    values[:, 1] = 0.0
    values[:, 1, 7] = torch.where(activations.labels, 1.0, -1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selection = select_layer(dataclasses.replace(activations, values=values))
    assert selection.layer == 1
    assert selection.cv_auroc[1] == 1.0
    assert selection.cv_separation[1] == 0.0


def test_results_show_themselves_in_a_line():
    train = planted_activations([0.2, 3.0])
    chosen = select_layer(train)
    shown = repr(chosen)
    assert shown.startswith("LayerSelection(layer 1 of 2, cross-validated AUROC ")
    held_out = validate_direction(
        fit_direction(train, chosen.layer), planted_activations([0.2, 3.0])
    )
    assert repr(held_out).startswith(f"LayerValidation(AUROC {held_out.auroc}, accuracy ")
    assert "\n" not in shown + repr(held_out)
