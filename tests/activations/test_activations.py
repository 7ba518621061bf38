import pytest
import torch
from tiny_models import BOS

from empathy_lens.activations import (
    extract_activations,
    extract_completions,
    extract_poolings,
    pooled_resid_post,
    resid_post_cache,
    resolve_layers,
)
from empathy_lens.engine.pooling import Pooler, Settings, Span, read_texts
from empathy_lens.engine.tokens import encode
from empathy_lens.errors import InputError, NonFiniteError
from empathy_lens.models import model_card
from empathy_lens.types import ContrastivePair, RubricCompletion, Site

PAIRS = [
    ContrastivePair("a", "s1", "I stop and help the man up.", "I ride on.", "A man fell."),
    ContrastivePair("b", "s1", "Stay.", "Leave, the clock is running and there is much to do.", ""),
    ContrastivePair("c", "s2", "We share the last of it.", "I keep it.", "Food is short here."),
    ContrastivePair("d", "s2", "Yes.", "No.", "Will you wait?"),
]
TEXTS = [(p.prompt, side) for p in PAIRS for side in (p.positive, p.negative)]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=["tiny_gemma2", "tiny_llama"])
def model(request, backend):
    return request.getfixturevalue(request.param)


def by_hand(model, prompt, text, layer, pooling):
    """One text, no padding, straight from run_with_cache."""
    encoded = encode(model, text, prompt)
    with torch.no_grad():
        _, cache = model.run_with_cache(torch.tensor([encoded.ids]))
    completion = cache[Site(layer).hook_name][0, encoded.start :]
    return completion.mean(dim=0) if pooling == "mean" else completion[-1]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pooling_is_over_the_completions_tokens_alone(model, pooling):
    activations = extract_activations(model, PAIRS, pooling=pooling)
    for item, (prompt, text) in enumerate(TEXTS):
        for layer in range(model.cfg.n_layers):
            expected = by_hand(model, prompt, text, layer, pooling)
            torch.testing.assert_close(activations.at(layer)[item], expected, **TOLERANCE)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_its_texts_give_alone_on_either_side(model, pooling, side):
    together = extract_activations(
        model, PAIRS, pooling=pooling, padding_side=side, share_prompts=False
    )
    for number, pair in enumerate(PAIRS):
        alone = extract_activations(model, [pair], pooling=pooling, batch_tokens=1)
        both = together.values[2 * number : 2 * number + 2]
        torch.testing.assert_close(alone.values, both, **TOLERANCE)


@pytest.mark.parametrize("batch_tokens", [1, 40, 100, 10_000])
def test_every_token_budget_gives_the_same_result(model, batch_tokens):
    usual = extract_activations(model, PAIRS)
    other = extract_activations(model, PAIRS, batch_tokens=batch_tokens)
    torch.testing.assert_close(other.values, usual.values, **TOLERANCE)
    assert other.n_tokens == usual.n_tokens


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_a_batch_stays_within_the_token_budget(tiny_gemma2, batch_tokens):
    shapes = []

    def note(value, hook):
        shapes.append(tuple(value.shape[:2]))

    with tiny_gemma2.hooks(fwd_hooks=[(Site(0).hook_name, note)]):
        extract_activations(tiny_gemma2, PAIRS, batch_tokens=batch_tokens)
    # Two pairs have prompts long enough to be read once, before their completions.
    assert sum(rows for rows, _ in shapes) == len(TEXTS) + 2
    assert all(rows == 1 or rows * width <= batch_tokens for rows, width in shapes)


def test_fewer_layers_give_the_same_values_as_all(model):
    every = extract_activations(model, PAIRS)
    some = extract_activations(model, PAIRS, layers=[2, 0])
    assert some.layers == (0, 2)
    for layer in some.layers:
        torch.testing.assert_close(some.at(layer), every.at(layer), **TOLERANCE)


def test_the_cache_holds_every_position_of_the_layers_asked_for(model):
    tokens = torch.tensor([encode(model, "I wait for her.").ids] * 2)
    cache = resid_post_cache(model, tokens, [0, model.cfg.n_layers - 1])
    assert set(cache) == {0, model.cfg.n_layers - 1}
    with torch.no_grad():
        _, full = model.run_with_cache(tokens)
    for layer, values in cache.items():
        assert values.shape == (*tokens.shape, model.cfg.d_model)
        torch.testing.assert_close(values, full[Site(layer).hook_name], **TOLERANCE)


def test_the_items_say_what_they_are(tiny_gemma2):
    activations = extract_activations(tiny_gemma2, PAIRS)
    assert activations.labels.tolist() == [True, False] * len(PAIRS)
    assert activations.pair_ids == ("a", "a", "b", "b", "c", "c", "d", "d")
    assert activations.scenario_ids == ("s1",) * 4 + ("s2",) * 4
    assert activations.groups[:2] == ("s1/a", "s1/a")
    assert activations.n_tokens == tuple(len(text) for _, text in TEXTS)
    assert activations.values.dtype == torch.float32
    assert activations.values.device.type == "cpu"
    card = model_card(tiny_gemma2).provenance
    assert activations.provenance.same_basis(card)
    assert activations.provenance.data_hash
    other = extract_activations(tiny_gemma2, PAIRS[:2])
    assert other.provenance.data_hash != activations.provenance.data_hash


def test_rubric_completions_are_read_like_pairs(tiny_gemma2):
    pair = PAIRS[0]
    completions = [
        RubricCompletion("c1", "s1", 2, pair.positive, pair.prompt),
        RubricCompletion("c2", "s1", 0, pair.negative, pair.prompt),
    ]
    read = extract_completions(tiny_gemma2, completions, layers=[1])
    expected = extract_activations(tiny_gemma2, [pair], layers=[1])
    torch.testing.assert_close(read.values, expected.values, **TOLERANCE)
    assert read.pair_ids == ("c1", "c2")
    assert read.labels.tolist() == [True, False]


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("junk", [1e6, float("nan")])
def test_bos_prompt_and_pads_are_never_pooled(tiny_gemma2, pooling, side, junk):
    """Whatever stands at positions outside the completion leaves the result as it was."""
    layer = 2
    options = {"layers": [layer], "pooling": pooling, "share_prompts": False}
    usual = extract_activations(tiny_gemma2, PAIRS, padding_side=side, **options)
    spoilt_positions = []

    def spoil(value, hook):
        rows = sorted((encode(tiny_gemma2, t, p) for p, t in TEXTS), key=lambda e: -len(e.ids))
        width = value.shape[1]
        outside = torch.ones(value.shape[:2], dtype=torch.bool)
        for row, text in enumerate(rows):
            first = 0 if side == "right" else width - len(text.ids)
            outside[row, first + text.start : first + len(text.ids)] = False
        spoilt_positions.append(int(outside.sum()))
        return torch.where(outside[..., None], junk, value)

    with tiny_gemma2.hooks(fwd_hooks=[(Site(layer).hook_name, spoil)]):
        spoilt = extract_activations(tiny_gemma2, PAIRS, padding_side=side, **options)
    assert len(spoilt_positions) == 1
    assert spoilt_positions[0] > len(TEXTS)
    torch.testing.assert_close(spoilt.values, usual.values)


def test_the_prompt_is_read_though_it_is_not_pooled(model):
    values, _ = pooled_resid_post(
        model, [("", "Yes."), ("Will you wait?", "Yes."), ("Will you shove?", "Yes.")], layers=[1]
    )
    assert (values[0] - values[1]).abs().max() > 1e-3
    assert (values[1] - values[2]).abs().max() > 1e-3


@pytest.mark.parametrize(("value", "called"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_a_value_that_is_not_finite_is_named_with_hook_position_and_remedy(model, value, called):
    def break_it(activation, hook):
        activation = activation.clone()
        activation[:, -1, 3] = value
        return activation

    message = rf"blocks\.1\.hook_resid_post.*{called}.*position \d+.*torch\.float32.*new copy"
    with (
        model.hooks(fwd_hooks=[(Site(1).hook_name, break_it)]),
        pytest.raises(NonFiniteError, match=message),
    ):
        extract_activations(model, PAIRS[:1], batch_tokens=1)
    assert extract_activations(model, PAIRS[:1]).values.isfinite().all()


def test_low_precision_is_pooled_in_float32():
    """A sum of 300 values near 300 is beyond what float16 can hold."""
    pooler = Pooler([Span(0, 300, 0, 0)], [0], ["mean", "last"])
    ((_, hook),) = pooler.hooks()
    hook(torch.full((1, 300, 8), 300.0, dtype=torch.float16))
    for pooled in pooler.pooled().values():
        assert pooled.dtype == torch.float32
        assert torch.equal(pooled, torch.full((1, 1, 8), 300.0))


def test_several_poolings_come_from_one_pass(tiny_gemma2):
    passes = []

    def note(value, hook):
        passes.append(len(value))

    with tiny_gemma2.hooks(fwd_hooks=[(Site(0).hook_name, note)]):
        both = extract_poolings(tiny_gemma2, PAIRS)
        n_passes = len(passes)
        extract_activations(tiny_gemma2, PAIRS)
    assert len(passes) == 2 * n_passes
    for pooling, found in both.items():
        assert found.pooling == pooling
        alone = extract_activations(tiny_gemma2, PAIRS, pooling=pooling)
        assert torch.equal(found.values, alone.values)


SHARED = [
    *(("A man fell on the road, and it is late.", text) for text in ("I stop.", "I go on.", "Hm.")),
    ("Only one text has this prompt.", "Then it is read whole."),
    *(("Food is short.", text) for text in ("We share all of it, to the last.", "I keep it.")),
]


@pytest.mark.parametrize(("batch_tokens", "fused"), [(1, True), (60, False), (10_000, True)])
def test_a_prompt_read_once_gives_what_reading_it_every_time_gives(model, batch_tokens, fused):
    """Prompts and completions of unlike length meet in a pass; gemma's window of 8 always bites."""
    encoded = [encode(model, text, prompt) for prompt, text in SHARED]
    layers, poolings = tuple(range(model.cfg.n_layers)), ("mean", "last")
    settings = Settings(layers, poolings, batch_tokens, fused=fused)
    found = read_texts(model, encoded, settings)
    for item, (prompt, text) in enumerate(SHARED):
        for pooling in poolings:
            for layer in layers:
                expected = by_hand(model, prompt, text, layer, pooling)
                torch.testing.assert_close(found[pooling][item, layer], expected, **TOLERANCE)


def test_a_shared_prompt_is_computed_once(tiny_gemma2):
    seen = []

    def note(value, hook):
        seen.append(value.shape[0] * value.shape[1])

    with tiny_gemma2.hooks(fwd_hooks=[(Site(0).hook_name, note)]):
        pooled_resid_post(tiny_gemma2, SHARED[:3], layers=[0], batch_tokens=1)
    encoded = [encode(tiny_gemma2, text, prompt) for prompt, text in SHARED[:3]]
    assert sum(seen) == encoded[0].start + sum(e.n_completion for e in encoded)


def test_a_model_that_is_steered_is_read_as_it_is_steered(model):
    """Hooks on the model act in the prompts' pass as in the texts'."""

    def push(value, hook):
        return value + 1.0

    name = Site(0).hook_name
    with model.hooks(fwd_hooks=[(name, push)]):
        found, _ = pooled_resid_post(model, SHARED, layers=[1])
        for item, (prompt, text) in enumerate(SHARED):
            expected = by_hand(model, prompt, text, 1, "mean")
            torch.testing.assert_close(found[item, 0], expected, **TOLERANCE)
    bare, _ = pooled_resid_post(model, SHARED, layers=[1])
    assert (bare - found).abs().max() > 1e-2


def test_progress_counts_every_text_once_and_ends_at_all(tiny_gemma2):
    seen = []
    extract_activations(
        tiny_gemma2, PAIRS, batch_tokens=60, progress=lambda done, total: seen.append((done, total))
    )
    done = [d for d, _ in seen]
    assert len(seen) > 1
    assert done == sorted(set(done))
    assert seen[-1] == (len(TEXTS), len(TEXTS))


@pytest.mark.parametrize("layers", [[4], [-1], [0, 99], []])
def test_layers_that_the_model_does_not_have_are_refused(tiny_gemma2, layers):
    with pytest.raises(InputError, match=r"numbers in 0\.\.3 \(this model has 4 layers\)"):
        extract_activations(tiny_gemma2, PAIRS, layers=layers)


def test_layers_are_sorted_and_taken_once(tiny_gemma2):
    assert resolve_layers(tiny_gemma2, "all") == (0, 1, 2, 3)
    assert resolve_layers(tiny_gemma2, [3, 1, 3]) == (1, 3)


def test_no_pairs_are_refused(tiny_gemma2):
    with pytest.raises(InputError, match="at least one pair"):
        extract_activations(tiny_gemma2, [])


def test_no_hook_is_left_behind(model):
    tokens = torch.tensor([[BOS, 40, 50, 60]])
    before = model(tokens)
    extract_activations(model, PAIRS[:1])
    assert all(not hook.fwd_hooks for hook in model.hook_dict.values())
    assert all("forward" not in module.__dict__ for module in model.modules())
    torch.testing.assert_close(model(tokens), before)


@pytest.mark.embedded
def test_the_real_model_read_at_once_gives_what_it_gives_text_by_text(embedded):
    """Shared prompts, fused blocks and batches together, at every layer, norms of 10 to 50,000."""
    texts = [SHARED[0], SHARED[1], SHARED[3]]
    layers = range(embedded.cfg.n_layers)
    found, _ = pooled_resid_post(embedded, texts, layers=layers)
    for item, (prompt, text) in enumerate(texts):
        encoded = encode(embedded, text, prompt)
        cache = resid_post_cache(embedded, torch.tensor([encoded.ids]), layers)
        expected = torch.stack([cache[n][0, encoded.start :].mean(dim=0) for n in layers])
        error = (found[item] - expected).norm(dim=1) / expected.norm(dim=1)
        assert error.max() < 1e-4
