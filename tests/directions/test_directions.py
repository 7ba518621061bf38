import dataclasses
from functools import cache

import pytest
import torch
from planted_layers import planted_activations, truth, unit

from empathy_lens.directions import (
    ESTIMATORS,
    fit_direction,
    fit_directions,
    lda,
    logistic,
    mean_difference,
    pca_differences,
    random_directions,
    sides,
)
from empathy_lens.errors import InputError

# Classes that overlap: where a line parts them fully, logistic regression hears only the few
# items beside it.
GAP = 3.0


def cosine(a, b):
    return torch.cosine_similarity(a.double(), b.double(), dim=0).item()


@pytest.fixture(scope="module")
def planted():
    return planted_activations([0.5, GAP], n_pairs=2000, offset=20.0)


@pytest.fixture(scope="module")
def few():
    return planted_activations([0.5, GAP], n_pairs=300, offset=20.0)


@pytest.fixture(scope="module")
def fitted(planted):
    """The direction at layer 1 by the estimator's name, each fitted once."""
    return cache(lambda name: fit_direction(planted, 1, name))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_finds_a_planted_direction_in_isotropic_noise(fitted, name):
    assert cosine(fitted(name).vector, truth(1)) > 0.99


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_directions_are_unit_vectors_that_point_at_the_positive_side(planted, fitted, name):
    direction = fitted(name)
    assert direction.vector.norm().item() == pytest.approx(1.0, abs=1e-5)
    projections = direction.project(planted.at(1))
    assert projections[planted.labels].mean() > projections[~planted.labels].mean()
    assert direction.site.layer == 1
    assert direction.method == f"{name}, mean pooling"
    assert direction.provenance == planted.provenance


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_swapping_the_classes_turns_the_direction_round(few, name):
    swapped = dataclasses.replace(few, labels=~few.labels)
    ours, theirs = fit_direction(few, 1, name), fit_direction(swapped, 1, name)
    assert cosine(ours.vector, theirs.vector) < -0.99
    assert theirs.threshold == pytest.approx(-ours.threshold, abs=0.05)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_raw_norm_is_the_gap_and_the_threshold_lies_midway(planted, fitted, name):
    direction = fitted(name)
    projections = direction.project(planted.at(1)).double()
    positive = projections[planted.labels].mean().item()
    negative = projections[~planted.labels].mean().item()
    assert direction.raw_norm == pytest.approx(positive - negative, rel=1e-4)
    assert direction.threshold == pytest.approx((positive + negative) / 2, rel=1e-4)
    assert direction.raw_norm == pytest.approx(GAP, rel=0.05)
    assert direction.threshold == pytest.approx(20.0, rel=0.05)
    assert ((projections > direction.threshold) == planted.labels).double().mean() > 0.92


def test_raw_norm_of_the_mean_difference_is_its_norm(planted):
    positive, negative = sides(planted, 1)
    expected = mean_difference(positive, negative).norm().item()
    assert fit_direction(planted, 1).raw_norm == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_unit_of_the_activations_changes_raw_norm_not_the_vector(few, name, scale):
    scaled = dataclasses.replace(few, values=few.values * scale)
    ours, theirs = fit_direction(few, 1, name), fit_direction(scaled, 1, name)
    assert cosine(ours.vector, theirs.vector) > 0.999
    assert theirs.raw_norm == pytest.approx(scale * ours.raw_norm, rel=1e-2)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_activations_as_large_as_gemmas_do_not_drown_the_direction(name):
    """Single channels of 47,000, the same in both classes, as in the embedded model."""
    activations = planted_activations([GAP], n_pairs=2000)
    activations.values[:, 0, 5] += 47_000.0
    assert cosine(fit_direction(activations, 0, name).vector, truth(0)) > 0.98


def anisotropic(seed, n_pairs=400):
    """Classes 2 apart along the truth, in noise ten times as loud in a quarter of the axes."""
    scales = torch.ones(32)
    scales[:8] = 10.0
    return planted_activations([2.0], n_pairs=n_pairs, noise_scales=scales, seed=seed)


def accuracy(direction, activations):
    above = direction.project(activations.at(0)) > direction.threshold
    return (above == activations.labels).double().mean().item()


@pytest.mark.parametrize("name", ["lda", "logistic"])
def test_estimators_that_know_the_noise_beat_the_mean_difference_where_it_is_uneven(name):
    train, fresh = anisotropic(seed=1), anisotropic(seed=2, n_pairs=1000)
    plain, better = fit_direction(train, 0), fit_direction(train, 0, name)
    assert accuracy(better, fresh) > accuracy(plain, fresh) + 0.1


def test_lda_is_fishers_solution_where_data_abound():
    scales = torch.linspace(0.5, 5.0, 32)
    train = planted_activations([4.0], n_pairs=20_000, noise_scales=scales)
    expected = truth(0) / scales**2
    assert cosine(fit_direction(train, 0, "lda").vector, expected) > 0.99
    assert cosine(fit_direction(train, 0).vector, expected) < 0.9


@pytest.mark.parametrize(("n_pairs", "d_model"), [(12, 64), (60, 64), (40, 8)])
def test_lda_is_the_solution_with_scikit_learns_shrunk_covariance(n_pairs, d_model):
    from sklearn.covariance import LedoitWolf

    scales = torch.logspace(0, 2, d_model)
    train = planted_activations([2.0], n_pairs=n_pairs, d_model=d_model, noise_scales=scales)
    positive, negative = sides(train, 0)
    centred = torch.cat([positive - positive.mean(dim=0), negative - negative.mean(dim=0)])
    found = LedoitWolf(assume_centered=True).fit(centred.double().numpy())
    assert 0.01 < found.shrinkage_ < 0.99
    gap = mean_difference(positive, negative).double()
    expected = torch.linalg.solve(torch.from_numpy(found.covariance_), gap)
    assert torch.allclose(lda(positive, negative).double(), expected, rtol=1e-4, atol=1e-8)


def test_logistic_weights_agree_with_a_fit_in_all_coordinates():
    """The shortcut through the span of the data must not change the solution."""
    import numpy as np
    from sklearn.linear_model import LogisticRegressionCV

    positive, negative = sides(planted_activations([1.5], n_pairs=20, d_model=64), 0)
    x = torch.cat([positive, negative]).double()
    x = (x - x.mean(dim=0)).numpy()
    _, singular, basis = np.linalg.svd(x, full_matrices=False)
    scale = (x @ basis[singular > 1e-8 * singular[0]].T).std()
    fold = np.tile(np.arange(20) % 5, 2)
    direct = LogisticRegressionCV(
        Cs=np.logspace(-4, 2, 7),
        cv=[(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)],
        scoring="neg_log_loss",
        max_iter=2000,
        tol=1e-8,
    ).fit(x / scale, np.repeat([1, 0], 20))
    weights = torch.from_numpy(direct.coef_[0])
    assert cosine(logistic(positive, negative), weights) > 0.999


def test_pca_of_differences_does_not_centre_the_gap_away():
    """Centred, the planted direction would be all that is missing from the differences."""
    positive, negative = sides(planted_activations([GAP], n_pairs=400), 0)
    assert abs(cosine(pca_differences(positive, negative), truth(0))) > 0.99
    differences = positive - negative
    _, _, centred = torch.linalg.svd(differences - differences.mean(dim=0))
    assert abs(cosine(centred[0], truth(0))) < 0.5


def test_pca_sees_pairs_not_classes():
    """What both sides of a pair share cancels, however loud it is."""
    activations = planted_activations([2 * GAP], n_pairs=200)
    generator = torch.Generator().manual_seed(5)
    shared = 100 * torch.randn((200, 1, 32), generator=generator)
    values = (activations.values.reshape(200, 2, 32) + shared).reshape(400, 1, 32)
    noisy = dataclasses.replace(activations, values=values)
    assert cosine(fit_direction(noisy, 0, "pca_differences").vector, truth(0)) > 0.98


def test_any_function_will_do_as_an_estimator(planted):
    def first_axis(positive, negative):
        return torch.eye(positive.shape[1])[0] * 7

    direction = fit_direction(planted, 1, first_axis)
    assert abs(direction.vector[0].item()) == pytest.approx(1.0)
    assert direction.method.startswith("first_axis")
    assert direction.raw_norm > 0
    medians = fit_direction(
        planted, 1, lambda p, n: p.median(dim=0).values - n.median(dim=0).values
    )
    assert cosine(medians.vector, truth(1)) > 0.98


def test_a_direction_is_fitted_for_every_layer(planted):
    directions = fit_directions(planted)
    assert list(directions) == [0, 1]
    for layer, direction in directions.items():
        assert direction.site.layer == layer
        assert torch.equal(direction.vector, fit_direction(planted, layer).vector)


def test_a_layer_of_an_extracted_few_is_fitted_on_its_own_values(planted):
    from empathy_lens.types import Site

    moved = dataclasses.replace(planted, sites=(Site(3), Site(15)))
    direction = fit_direction(moved, 15)
    assert direction.site == Site(15)
    assert torch.equal(direction.vector, fit_direction(planted, 1).vector)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize("n_pairs", [2, 3, 7])
def test_few_pairs_in_many_dimensions_are_enough_to_fit(name, n_pairs):
    activations = planted_activations([30.0], n_pairs=n_pairs, d_model=64)
    assert cosine(fit_direction(activations, 0, name).vector, truth(0, 64)) > 0.9


@pytest.mark.parametrize("name", ["mean_difference", "pca_differences"])
def test_one_pair_is_its_own_direction(name):
    activations = planted_activations([GAP], n_pairs=1)
    difference = activations.values[0, 0] - activations.values[1, 0]
    assert cosine(fit_direction(activations, 0, name).vector, difference) > 0.9999


@pytest.mark.parametrize("name", ["lda", "logistic"])
def test_estimators_that_need_spread_refuse_one_pair(name):
    with pytest.raises(InputError, match=f"{name} needs .*pairs.*mean_difference"):
        fit_direction(planted_activations([GAP], n_pairs=1), 0, name)


def test_lda_refuses_classes_that_are_points():
    activations = planted_activations([GAP], n_pairs=6)
    values = activations.values.clone()
    values[:] = torch.where(activations.labels[:, None, None], 1.0, -1.0)
    with pytest.raises(InputError, match="lda needs"):
        fit_direction(dataclasses.replace(activations, values=values), 0, "lda")


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_classes_that_coincide_are_refused(name):
    activations = planted_activations([0.0], n_pairs=10)
    values = activations.values.clone()
    values[1::2] = values[0::2]
    for wrong in (values, torch.ones_like(values)):
        same = dataclasses.replace(activations, values=wrong)
        with pytest.raises(InputError, match="coincide"):
            fit_direction(same, 0, name)


def test_an_estimate_along_which_the_classes_do_not_differ_is_refused():
    """raw_norm would be 0: nothing could be scored with it, nor steered."""
    activations = planted_activations([GAP], n_pairs=10)
    values = activations.values.clone()
    values[..., 3] = 1.0
    flat = dataclasses.replace(activations, values=values)
    with pytest.raises(InputError, match="coincide"):
        fit_direction(flat, 0, lambda positive, negative: torch.eye(32)[3])


def test_an_unknown_estimator_is_refused_and_the_known_ones_named(planted):
    with pytest.raises(
        InputError, match="mean_difference, lda, logistic, pca_differences, got 'x'"
    ):
        fit_direction(planted, 1, "x")


def test_a_layer_that_was_not_extracted_is_refused(planted):
    with pytest.raises(InputError, match="layer 2 was not extracted"):
        fit_direction(planted, 2)


def test_sides_are_aligned_by_pair(planted):
    positive, negative = sides(planted, 1)
    assert torch.equal(positive, planted.values[0::2, 1])
    assert torch.equal(negative, planted.values[1::2, 1])


def test_pairs_that_are_not_aligned_are_refused():
    activations = planted_activations([GAP], n_pairs=4)
    ids = list(activations.pair_ids)
    ids[0], ids[2] = ids[2], ids[0]
    crossed = dataclasses.replace(activations, pair_ids=tuple(ids))
    lone = activations.select(torch.tensor([True] * 7 + [False]))
    none = activations.select(torch.tensor([False] * 8))
    for wrong in (crossed, lone, none):
        with pytest.raises(InputError, match="one positive and one negative item of every pair"):
            fit_direction(wrong, 0)


def test_random_directions_are_even_on_the_sphere_and_repeatable():
    draws = random_directions(4000, 16, seed=3)
    torch.testing.assert_close(draws.norm(dim=1), torch.ones(4000))
    assert draws.mean(dim=0).abs().max() < 0.02
    second_moment = draws.T @ draws / 4000
    torch.testing.assert_close(second_moment, torch.eye(16) / 16, atol=0.01, rtol=0)
    assert torch.equal(draws, random_directions(4000, 16, seed=3))
    assert not torch.equal(draws, random_directions(4000, 16, seed=4))


def test_random_directions_leave_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    random_directions(5, 8, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_random_direction_is_far_from_a_planted_one():
    draws = random_directions(1000, 640, seed=0)
    assert (draws @ unit(640, seed=9)).abs().max() < 0.2
