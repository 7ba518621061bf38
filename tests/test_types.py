import dataclasses

import pytest
import torch
from jaxtyping import TypeCheckError
from planted_layers import PROVENANCE, planted_activations, unit

from empathy_lens.errors import InputError
from empathy_lens.results import from_plain, to_plain
from empathy_lens.types import (
    Concept,
    ContrastivePair,
    Direction,
    Estimate,
    RubricCompletion,
    Site,
    as_unit,
)

SITES = tuple(Site(layer) for layer in (0, 1, 2, 8, 12))


def a_direction(**changes):
    values = {
        "vector": unit(8, seed=1),
        "site": Site(3),
        "method": "mean_difference, mean pooling",
        "raw_norm": 2.0,
        "threshold": 0.5,
        "provenance": PROVENANCE,
    }
    return Direction(**(values | changes))


def test_shapes_and_dtypes_in_annotations_are_checked_in_the_tests():
    with pytest.raises(TypeCheckError):
        as_unit(torch.ones(2, 2))
    activations = planted_activations([1.0], n_pairs=4)
    with pytest.raises(TypeCheckError):
        activations.select(torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]))


def test_a_site_knows_its_hook():
    assert Site(12).hook_name == "blocks.12.hook_resid_post"
    assert Site(2) < Site(11)


def test_the_group_of_a_text_is_its_situation_and_never_crosses_scenarios():
    pair = ContrastivePair("p1", "the_maze", "helps", "goes on")
    assert pair.group == "the_maze/p1"
    assert dataclasses.replace(pair, situation="bridge").group == "the_maze/bridge"
    assert RubricCompletion("c1", "the_duel", 2, "yields").group == "the_duel/c1"


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_direction().raw_norm = 3.0


def test_provenance_tells_weights_and_basis_apart_but_not_dtype_or_backend():
    def changed(**changes):
        return dataclasses.replace(PROVENANCE, **changes)

    assert PROVENANCE.same_basis(changed(dtype="bfloat16", backend="bridge", model_name="copy"))
    assert not PROVENANCE.same_basis(changed(weights_hash="1" * 32))
    assert not PROVENANCE.same_basis(changed(weight_basis="processed"))
    assert PROVENANCE.same_basis(changed(revision="a"))
    one, other = changed(revision="a"), changed(revision="b")
    assert one.differs_in(other) == ("revision: a, not b",)
    assert PROVENANCE.with_data("abc").data_hash == "abc"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"dtype": "bfloat16", "rounded_hash": "r"}, True),
        ({"dtype": "bfloat16", "rounded_hash": "other"}, False),
        ({"dtype": "bfloat16", "rounded_hash": ""}, False),  # files older than it
        ({"rounded_hash": "r"}, False),  # of one dtype, so that the weights' own hash decides
        ({"dtype": "float16", "rounded_hash": "other"}, True),
        ({"dtype": "float16", "rounded_hash": "other", "model_name": "other"}, False),
    ],
)
def test_weights_of_another_dtype_are_compared_as_far_as_rounding_allows(changes, same):
    own = dataclasses.replace(PROVENANCE, dtype="float32", rounded_hash="r")
    other = dataclasses.replace(own, weights_hash="1" * 32, **changes)
    assert own.same_basis(other) == other.same_basis(own) == same


def test_selecting_items_keeps_every_field_in_step():
    activations = planted_activations([1.0, 2.0], n_pairs=5)
    mask = torch.tensor([False, True, True, False, True, False, False, False, True, True])
    some = activations.select(mask)
    kept = mask.nonzero()[:, 0].tolist()
    assert torch.equal(some.values, activations.values[kept])
    assert some.labels.tolist() == [activations.labels[i].item() for i in kept]
    for name in ("pair_ids", "scenario_ids", "groups", "n_tokens"):
        assert getattr(some, name) == tuple(getattr(activations, name)[i] for i in kept)
    assert some.sites == activations.sites


def test_a_layer_is_found_by_its_number_not_its_position():
    activations = planted_activations([1.0, 2.0], n_pairs=4)
    moved = dataclasses.replace(activations, sites=(Site(3), Site(15)))
    assert torch.equal(moved.at(15), activations.values[:, 1])
    with pytest.raises(InputError, match=r"layer 1 was not extracted; extracted layers: \[3, 15\]"):
        moved.at(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair_ids": ("a",)}, "values hold 8 items, but {'pair_ids': 1}"),
        ({"groups": ()}, "values hold 8 items, but {'groups': 0}"),
        ({"sites": (Site(0),)}, "values hold 2 layers, but 1 sites"),
    ],
)
def test_activations_whose_parts_disagree_are_refused(changes, message):
    activations = planted_activations([1.0, 2.0], n_pairs=4)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(activations, **changes)


def test_a_projection_is_the_signed_component_in_float32():
    direction = a_direction()
    x = 3.0 * direction.vector.double() + 0.0
    assert direction.project(x).item() == pytest.approx(3.0)
    assert direction.project(-x).item() == pytest.approx(-3.0)
    batch = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    projected = direction.project(batch.to(torch.bfloat16))
    assert projected.shape == (2, 5)
    assert projected.dtype == torch.float32


def test_values_show_themselves_in_two_lines_at_most():
    concept = Concept("honesty", "honest", "false")
    activations = dataclasses.replace(
        planted_activations([1.0] * 5, n_pairs=4), concept=concept, sites=SITES
    )
    pair = ContrastivePair("p1", "the_maze", "helps " * 20, "goes on")
    estimate = Estimate(0.9, 0.8, 0.95, 0.95, 40, 20, "cluster bootstrap", p=0.001)
    assert [repr(x) for x in (a_direction(concept=concept), activations, pair, estimate)] == [
        "Direction(honesty: honest - false, blocks.3.hook_resid_post, mean_difference, mean "
        "pooling, raw_norm 2, threshold 0.5, planted)",
        "Activations(8 items (4 pairs) x 5 layers x d_model 32, layers 0-2, 8, 12, mean pooling, "
        "honesty, planted)",
        "ContrastivePair('p1', the_maze, 'helps helps helps helps helps helps h...' | 'goes on')",
        "Estimate(0.900 [0.800, 0.950], p = 0.001, n = 40 in 20 groups)",
    ]
    assert repr(PROVENANCE) == "Provenance(planted, float32, hooked, hub weights 00000000)"


def test_the_opposite_direction_reads_every_text_the_other_way():
    direction = a_direction()
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    opposite = -direction
    above = direction.project(x) > direction.threshold
    assert torch.equal(opposite.project(x) > opposite.threshold, ~above)
    assert opposite.raw_norm == direction.raw_norm
    assert torch.equal((-opposite).vector, direction.vector)


def test_a_direction_for_another_width_is_refused():
    with pytest.raises(InputError, match="d_model 8, activations have 9"):
        a_direction().project(torch.zeros(3, 9))


@pytest.mark.parametrize(
    "changes",
    [
        {"vector": torch.ones(8)},
        {"vector": torch.zeros(8)},
        {"vector": torch.full((8,), float("nan"))},
        {"raw_norm": float("inf")},
        {"threshold": float("nan")},
    ],
)
def test_a_direction_that_is_not_a_finite_unit_vector_is_refused(changes):
    with pytest.raises(InputError):
        a_direction(**changes)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_a_vector_of_any_length_becomes_a_unit_vector(scale):
    vector = torch.tensor([3.0, 4.0]) * scale
    assert as_unit(vector).tolist() == pytest.approx([0.6, 0.8])


def test_normalising_a_low_precision_vector_gives_float32():
    made = as_unit(torch.tensor([30_000.0, 40_000.0], dtype=torch.float16))
    assert made.dtype == torch.float32
    assert made.tolist() == pytest.approx([0.6, 0.8], rel=1e-3)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_refused(value):
    with pytest.raises(InputError, match="cannot normalise a vector whose largest entry"):
        as_unit(torch.full((3,), value))


def test_an_estimate_survives_a_round_trip_and_prints_its_interval():
    estimate = Estimate(0.9, 0.8, 0.95, 0.95, 40, 20, "cluster bootstrap", seed=0, p=0.001)
    assert from_plain(to_plain(estimate), Estimate, "figure") == estimate
    assert str(estimate) == "0.900 [0.800, 0.950], p = 0.001"
    without = dataclasses.replace(estimate, p=None)
    assert "p" not in to_plain(without)
    assert from_plain(to_plain(without), Estimate, "figure") == without


@pytest.mark.parametrize(
    "changed",
    [
        {"value": 0.9},
        {"value": 0.1},
        {"low": 0.8},
        {"confidence": 7.0},
        {"p": 3.0},
        {"p": -1.0},
        {"n": -5},
        {"n_groups": 400},
    ],
)
def test_an_estimate_that_contradicts_itself_is_refused(changed):
    fine = {"value": 0.5, "low": 0.4, "high": 0.6, "confidence": 0.95, "n": 40, "n_groups": 20}
    Estimate(**fine, method="made up")
    with pytest.raises(InputError, match="Estimate: expected"):
        Estimate(**{**fine, **changed}, method="made up")


@pytest.mark.parametrize("name", ["value", "low", "high"])
def test_an_estimate_that_is_not_finite_is_refused(name):
    values = {"value": 0.5, "low": 0.4, "high": 0.6} | {name: float("nan")}
    with pytest.raises(InputError, match="must be finite"):
        Estimate(**values, confidence=0.95, n=4, n_groups=2, method="m")
