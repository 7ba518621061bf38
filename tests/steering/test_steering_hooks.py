import inspect
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_direction
from empathy_lens.engine.positions import PlacedHook, TokenPlaces
from empathy_lens.engine.tokens import encode
from empathy_lens.errors import InputError, NonFiniteError
from empathy_lens.steering import ablate_direction, add_direction, by_row, clamp_direction, on_sites
from empathy_lens.steering.hooks import method_name
from empathy_lens.types import ContrastivePair, Direction, Provenance, Site

WIDTH = 16
PAIRS = [
    ContrastivePair(f"p{i}", "s", f"I stop for number {i}.", f"I pass by {i}.", "A man fell.")
    for i in range(4)
]
VECTOR = torch.zeros(WIDTH)
VECTOR[3] = 1.0
DIRECTION = Direction(VECTOR, Site(1), "planted", 2.0, 0.5, Provenance("m", "0", "float32", "", ""))


def resid(rows=3, positions=5, seed=0):
    return torch.randn((rows, positions, WIDTH), generator=torch.Generator().manual_seed(seed))


def test_ablating_leaves_no_projection_and_all_else():
    before = resid()
    after = ablate_direction(DIRECTION)[1](before)
    torch.testing.assert_close(DIRECTION.project(after), torch.zeros(3, 5))
    other = torch.arange(WIDTH) != 3
    assert torch.equal(after[..., other], before[..., other])


def test_ablating_twice_is_ablating_once():
    _, hook = ablate_direction(replace(DIRECTION, vector=torch.full((WIDTH,), WIDTH**-0.5)))
    once = hook(resid())
    torch.testing.assert_close(hook(once), once)


def test_clamping_sets_the_projection_of_each_row():
    values = torch.tensor([-1.0, 0.0, 4.0])
    after = clamp_direction(DIRECTION, values)[1](resid())
    torch.testing.assert_close(DIRECTION.project(after), values[:, None].expand(3, 5))


def test_adding_then_subtracting_gives_the_activation_back():
    before = resid()
    _, add = add_direction(DIRECTION, 1.5)
    _, remove = add_direction(DIRECTION, -1.5)
    torch.testing.assert_close(remove(add(before)), before)


@pytest.mark.parametrize(
    ("positions", "touched"),
    [
        (slice(3, None), {3, 4}),
        ([0, 2], {0, 2}),
        ("last_prompt_token", {3}),
        (torch.tensor([[False, True, False, False, False]] * 3), {1}),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        ablate_direction,
        lambda d, **k: add_direction(d, 1.0, **k),
        lambda d, **k: by_row([add_direction(d, 1.0, **k)], repeats=3),
    ],
)
def test_only_the_chosen_positions_change(make, positions, touched):
    before = resid()
    point = PlacedHook(DIRECTION.site.hook_name, TokenPlaces(3, 0, 5, n_prompt=(4,)))
    after = make(DIRECTION, positions=positions)[1](before, point)
    for position in range(5):
        same = torch.equal(after[:, position], before[:, position])
        assert same == (position not in touched)


def test_a_condition_on_the_projection_decides_where_it_acts():
    before = resid()
    after = add_direction(DIRECTION, 1.0, condition=lambda p: p < 0)[1](before)
    low = before[..., 3] < 0
    assert low.any()
    assert not low.all()
    torch.testing.assert_close(
        after[..., 3], torch.where(low, before[..., 3] + 2.0, before[..., 3])
    )


def test_rows_of_alpha_zero_pass_bit_for_bit_beside_others():
    before = resid()
    after = add_direction(DIRECTION, torch.tensor([0.0, 1.0, 0.0]))[1](before)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2], before[2])
    assert not torch.equal(after[1], before[1])


def test_each_row_can_have_a_hook_of_its_own():
    before = resid(rows=4)
    hooks = [add_direction(DIRECTION, 1.0), ablate_direction(DIRECTION)]
    after = by_row(hooks, repeats=2)[1](before)
    assert torch.equal(after[:2], hooks[0][1](before[:2]))
    assert torch.equal(after[2:], hooks[1][1](before[2:]))
    last = [add_direction(DIRECTION, a, positions="last_prompt_token") for a in (1.0, 2.0)]
    point = PlacedHook(DIRECTION.site.hook_name, TokenPlaces(4, 0, 5, n_prompt=(1, 2, 3, 4)))
    moved = (by_row(last, repeats=2)[1](before, point) - before)[..., 3]
    torch.testing.assert_close(moved[:, :4], torch.tensor([2.0, 2.0, 4.0, 4.0]).diag())
    with pytest.raises(InputError, match="2 hooks"):
        by_row(hooks)[1](before)
    with pytest.raises(InputError, match="one site"):
        by_row([hooks[0], ("elsewhere", hooks[1][1])])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "hook", [add_direction(DIRECTION, 0.25), ablate_direction(DIRECTION)], ids=["add", "ablate"]
)
def test_low_precision_is_computed_in_float32_and_cast_back(dtype, hook):
    before = resid().to(dtype)
    after = hook[1](before)
    assert after.dtype == dtype
    assert torch.equal(after, hook[1](before.float()).to(dtype))


def test_overflow_and_nan_are_named():
    huge = torch.full((1, 2, WIDTH), 6e4, dtype=torch.float16)
    with pytest.raises(NonFiniteError, match=r"blocks\.1\.hook_resid_post.*float16"):
        clamp_direction(DIRECTION, 1e6)[1](huge)
    with pytest.raises(NonFiniteError, match="not finite"):
        ablate_direction(DIRECTION)[1](torch.full((1, 2, WIDTH), math.nan))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value):
    for make in (add_direction, clamp_direction):
        with pytest.raises(InputError, match="finite"):
            make(DIRECTION, value)


def test_a_strength_that_is_no_number_is_refused():
    untyped = inspect.unwrap(add_direction)  # as for a user, whose annotations nothing checks
    for value in ("strong", None, [[1.0], [1.0, 2.0]]):
        with pytest.raises(InputError, match="alpha: expected a number or a tensor"):
            untyped(DIRECTION, value)


@pytest.mark.parametrize("make", [ablate_direction, lambda d: add_direction(d, 1.0)])
def test_activations_of_another_width_are_refused(make):
    with pytest.raises(InputError, match="width 16 cannot steer activations of width 17"):
        make(DIRECTION)[1](torch.zeros(1, 2, WIDTH + 1))


def test_a_hook_serves_batches_of_any_length_and_precision():
    _, hook = add_direction(DIRECTION, torch.tensor([1.0, 0.0, -1.0]))
    for positions, dtype in ((5, torch.float32), (1, torch.bfloat16), (7, torch.float64)):
        before = resid(positions=positions).to(dtype)
        after = hook(before)
        assert after.dtype == dtype
        moved = DIRECTION.project(after) - DIRECTION.project(before)
        expected = torch.tensor([2.0, 0.0, -2.0])[:, None].expand(3, positions)
        torch.testing.assert_close(moved, expected, atol=0.02, rtol=0.02)


def test_a_method_is_called_by_its_name_and_its_options():
    assert method_name(add_direction) == "add_direction"
    low = partial(add_direction, positions=slice(3, None))
    assert method_name(low) == "add_direction(positions=slice(3, None, None))"
    assert method_name(lambda direction, alpha: clamp_direction(direction, alpha)) == "<lambda>"


def test_bad_positions_and_sites_are_named():
    small = ablate_direction(DIRECTION, positions=torch.ones((2, 2), dtype=torch.bool))[1]
    with pytest.raises(InputError, match="mask of 3 rows and at least 5 columns"):
        small(resid(), PlacedHook("", TokenPlaces(3, 0, 5)))
    with pytest.raises(InputError, match="site"):
        on_sites(ablate_direction(DIRECTION), [])


def test_one_direction_is_ablated_at_many_sites(tiny_gemma2):
    direction = fit_direction(extract_activations(tiny_gemma2, PAIRS), layer=1)
    sites = [Site(layer) for layer in (1, 2, 3)]
    tokens = torch.tensor([encode(tiny_gemma2, "A man fell.").ids])
    seen = {}

    def read(value, hook):
        seen[hook.name] = direction.project(value)

    hooks = on_sites(ablate_direction(direction), sites)
    hooks += [(site.hook_name, read) for site in sites]
    with tiny_gemma2.hooks(fwd_hooks=hooks), torch.no_grad():
        tiny_gemma2(tokens)
    assert len(seen) == len(sites)
    scale = direction.raw_norm
    assert max(float(value.abs().max()) for value in seen.values()) < 1e-3 * max(1.0, scale)
