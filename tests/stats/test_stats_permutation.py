import numpy as np
import pytest

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import (
    auroc,
    auroc_permutation,
    holm,
    max_statistic_p,
    pair_swap_labels,
    permutation_p,
    permutations,
)

LABELS = np.tile([True, False], 30)
PAIRS = np.repeat(np.arange(30), 2)
GROUPS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4])


def test_within_keeps_items_in_their_group():
    order = permutations(GROUPS, n_permutations=50, seed=0, exchange="within")
    assert (np.sort(order, axis=1) == np.arange(len(GROUPS))).all()
    assert (GROUPS[order] == GROUPS).all()
    assert (order != np.arange(len(GROUPS))).any()


def test_whole_groups_move_only_to_groups_of_their_size():
    order = permutations(GROUPS, n_permutations=200, seed=0)
    assert (np.sort(order, axis=1) == np.arange(len(GROUPS))).all()
    moved = GROUPS[order]
    assert set(np.unique(moved[:, GROUPS == 0])) == {0, 1}
    assert set(np.unique(moved[:, GROUPS == 2])) == {2, 3}
    assert set(np.unique(moved[:, GROUPS == 4])) == {4}
    assert all(len(set(row[g == GROUPS])) == 1 for row in moved for g in range(5))


def test_groups_do_not_cross_strata():
    strata = np.array([0] * 6 + [1] * 2 + [2] * 3)
    moved = GROUPS[permutations(GROUPS, n_permutations=100, seed=0, strata=strata)]
    assert set(np.unique(moved[:, GROUPS == 2])) == {2}


def test_permutations_do_not_depend_on_how_items_are_interleaved():
    groups = np.array([0, 1, 2, 0, 1, 2])
    moved = groups[permutations(groups, n_permutations=300, seed=0)]
    assert {tuple(row) for row in moved[:, :3].tolist()} >= {(0, 1, 2), (2, 0, 1), (1, 0, 2)}
    assert (moved[:, :3] == moved[:, 3:]).all()


def test_swaps_keep_one_positive_in_every_pair():
    swapped = pair_swap_labels(LABELS, PAIRS, n_permutations=400, seed=0)
    assert (swapped.reshape(400, 30, 2).sum(axis=2) == 1).all()
    assert swapped[:, 0].mean() == pytest.approx(0.5, abs=0.1)


def test_pairs_of_a_group_are_swapped_together():
    groups = PAIRS // 3
    swapped = pair_swap_labels(LABELS, PAIRS, n_permutations=50, seed=0, groups=groups)
    flipped = (swapped != LABELS).reshape(50, 10, 6)
    assert (flipped.all(axis=2) | ~flipped.any(axis=2)).all()


def test_p_counts_the_observed_order_and_is_never_zero():
    null = np.arange(99.0)
    assert permutation_p(1000.0, null) == pytest.approx(0.01)
    assert permutation_p(98.0, null) == pytest.approx(0.02)
    assert permutation_p(-1.0, null) == 1.0
    assert permutation_p(-1.0, null, "less") == pytest.approx(0.01)
    assert permutation_p(-1.0, null, "two-sided") == pytest.approx(0.02)


def test_corrected_p_is_never_smaller_and_falls_as_the_statistic_grows():
    rng = np.random.default_rng(0)
    observed, null = np.sort(rng.normal(size=12) + 1), rng.normal(size=(500, 12))
    corrected = max_statistic_p(observed, null)
    assert (np.diff(corrected) <= 0).all()
    assert (corrected >= permutation_p(observed, null)).all()


def test_one_layer_needs_no_correction():
    result = auroc_permutation(
        np.random.default_rng(0).normal(size=60), LABELS, PAIRS, n_permutations=500, seed=0
    )
    assert (result.p == result.p_max).all()


def test_correction_holds_the_level_that_the_best_layer_breaks():
    naive, corrected, n_draws = 0, 0, 200
    for draw in range(n_draws):
        rng = np.random.default_rng([draw, 5])
        rows = 0.6 * rng.normal(size=60) + 0.8 * rng.normal(size=(18, 60))
        result = auroc_permutation(rows, LABELS, PAIRS, n_permutations=199, seed=draw)
        naive += result.p.min() <= 0.05
        corrected += result.p_max.min() <= 0.05
    assert corrected / n_draws <= 0.09
    assert naive / n_draws > 0.15


def test_swapping_by_groups_allows_for_pairs_that_agree():
    rejected = {"pairs": 0, "groups": 0}
    groups = PAIRS // 3
    for draw in range(200):
        rng = np.random.default_rng([draw, 6])
        lean = rng.normal(size=10)[groups] * np.where(LABELS, 1, -1)
        values = lean + 0.5 * rng.normal(size=60)
        for name, joint in (("pairs", None), ("groups", groups)):
            p = auroc_permutation(
                values, LABELS, PAIRS, n_permutations=199, seed=draw, groups=joint
            ).p[0]
            rejected[name] += p <= 0.05
    assert rejected["groups"] / 200 <= 0.09
    assert rejected["pairs"] / 200 > 0.10


def test_a_planted_layer_is_found():
    rows = np.random.default_rng(0).normal(size=(6, 60))
    rows[4] += 1.5 * LABELS
    result = auroc_permutation(rows, LABELS, PAIRS, n_permutations=999, seed=0)
    assert result.observed == pytest.approx(auroc(rows, LABELS))
    assert result.p_max.argmin() == 4
    assert result.p_max[4] == pytest.approx(0.001)


def test_a_reversed_layer_counts_only_two_sided():
    rows = np.random.default_rng(0).normal(size=(2, 60)) - 1.5 * LABELS
    options = {"n_permutations": 199, "seed": 0}
    assert auroc_permutation(rows, LABELS, PAIRS, **options).p_max.min() > 0.9
    two_sided = auroc_permutation(rows, LABELS, PAIRS, alternative="two-sided", **options)
    assert two_sided.p_max.max() < 0.05


def test_the_order_of_items_changes_nothing():
    rows = np.random.default_rng(0).normal(size=(3, 60)) + 0.3 * LABELS
    order = np.random.default_rng(1).permutation(60)
    options = {"n_permutations": 300, "seed": 0}
    straight = auroc_permutation(rows, LABELS, PAIRS, **options)
    shuffled = auroc_permutation(rows[:, order], LABELS[order], PAIRS[order], **options)
    assert (straight.p_max == shuffled.p_max).all()
    assert (straight.p == shuffled.p).all()


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(DegenerateDataError, match="both classes"):
        pair_swap_labels(np.arange(6) < 3, np.arange(6), n_permutations=10, seed=0)
    with pytest.raises(DegenerateDataError, match="nothing can be exchanged"):
        permutations(np.arange(6), n_permutations=10, seed=0, exchange="within")
    with pytest.raises(InputError, match="as many positives"):
        pair_swap_labels(
            np.array([True, True, False] * 3), np.repeat([0, 1, 2], 3), n_permutations=9, seed=0,
            groups=np.repeat([0, 1, 2], 3),
        )  # fmt: skip
    with pytest.raises(InputError, match="between 0 and 1"):
        holm([0.1, 1.2])
