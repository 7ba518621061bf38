import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_direction, fit_directions
from empathy_lens.engine.logits import last_logits, new_cache
from empathy_lens.engine.tokens import encode, encode_prompt, pad_batch, pad_id
from empathy_lens.errors import InputError, NonFiniteError
from empathy_lens.steering import (
    INSTRUCTION,
    Coherence,
    ablate_direction,
    action_log_odds,
    add_direction,
    generate_steered,
    instructed,
    perplexities,
    repetition,
)
from empathy_lens.steering.generation import SharedRows, _next_tokens, sample_rows
from empathy_lens.steering.scoring import continuation_log_probs
from empathy_lens.types import ContrastivePair, SteeringPrompt

PAIRS = [
    ContrastivePair(f"p{i}", "s", f"I stop for number {i}.", f"I pass by {i}.", "A man fell.")
    for i in range(4)
]
PROMPT = SteeringPrompt(
    "s", "A man fell.", ("I stop and help.", "I wait."), ("I ride on.", "I go on and win it.")
)


@pytest.fixture
def direction(tiny_gemma2):
    return fit_direction(extract_activations(tiny_gemma2, PAIRS), layer=2)


def logits_of(model, text="A man fell. I"):
    tokens = torch.tensor([encode(model, text).ids])
    with torch.no_grad():
        return model(tokens)


def test_alpha_zero_leaves_logits_bit_identical(tiny_gemma2, direction):
    untouched = logits_of(tiny_gemma2)
    with tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, 0.0)]):
        steered = logits_of(tiny_gemma2)
    assert torch.equal(untouched, steered)


def test_steering_moves_the_projection_by_alpha_times_the_class_gap(tiny_gemma2, direction):
    tokens = torch.tensor([encode(tiny_gemma2, "A man fell.").ids])
    name = direction.site.hook_name
    _, plain = tiny_gemma2.run_with_cache(tokens, names_filter=lambda n: n == name)
    seen = []
    read = (name, lambda resid, hook: seen.append(resid.clone()))
    with tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, 3.0), read]), torch.no_grad():
        tiny_gemma2(tokens)
    moved = direction.project(seen[0]) - direction.project(plain[name])
    torch.testing.assert_close(
        moved, torch.full_like(moved, 3.0 * direction.raw_norm), rtol=1e-3, atol=1e-4
    )


def test_each_row_of_a_batch_has_its_own_alpha(tiny_gemma2, direction):
    tokens = torch.tensor([encode(tiny_gemma2, "A man fell.").ids] * 3)
    alphas = [-2.0, 0.0, 2.0]
    with (
        tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, torch.tensor(alphas))]),
        torch.no_grad(),
    ):
        together = tiny_gemma2(tokens)
    for row, alpha in enumerate(alphas):
        with (
            tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, alpha)]),
            torch.no_grad(),
        ):
            alone = tiny_gemma2(tokens[:1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-4)


def test_hooks_are_gone_after_an_exception(tiny_gemma2, direction):
    untouched = logits_of(tiny_gemma2)
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, 5.0)]),
    ):
        raise RuntimeError("on purpose")
    assert torch.equal(untouched, logits_of(tiny_gemma2))


def test_the_hook_does_not_write_into_its_input(direction):
    resid = torch.zeros(1, 3, len(direction.vector))
    _, hook = add_direction(direction, 1.0)
    assert hook(resid).abs().sum() > 0
    assert resid.abs().sum() == 0


def test_a_nan_alpha_is_refused(direction):
    with pytest.raises(InputError, match="finite"):
        add_direction(direction, math.nan)


def test_overflow_is_named_instead_of_passed_on(direction):
    resid = torch.full((1, 2, len(direction.vector)), 6e4, dtype=torch.float16)
    _, hook = add_direction(replace(direction, raw_norm=1e6), 1.0)
    with pytest.raises(NonFiniteError, match=r"blocks\.2\.hook_resid_post.*float16"):
        hook(resid)


def test_a_direction_of_another_model_is_refused(tiny_gemma2, tiny_llama, direction):
    with pytest.raises(InputError, match="comes from"):
        action_log_odds(tiny_llama, PROMPT, [direction], [1.0])
    with pytest.raises(InputError, match="comes from"):
        generate_steered(tiny_llama, ["A man fell."], direction, [1.0], seeds=[0])


def test_log_odds_equal_full_passes_under_the_hook(tiny_gemma2, direction):
    log_odds = action_log_odds(tiny_gemma2, PROMPT, [direction] * 3, [-1.0, 0.0, 2.0])
    for value, alpha in zip(log_odds, (-1.0, 0.0, 2.0), strict=True):
        means = []
        for action in (*PROMPT.positive_actions, *PROMPT.negative_actions):
            text = encode(tiny_gemma2, action, PROMPT.prompt)
            tokens = torch.tensor([text.ids])
            with (
                tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, alpha)]),
                torch.no_grad(),
            ):
                log_probs = tiny_gemma2(tokens).float().log_softmax(-1)[0, :-1]
            chosen = log_probs.gather(-1, tokens[0, 1:, None])[:, 0]
            means.append(chosen[text.start - 1 :].mean().item())
        assert value == pytest.approx(np.mean(means[:2]) - np.mean(means[2:]), abs=1e-4)


def test_cached_logits_equal_uncached_ones_under_left_padding(tiny_gemma2):
    rows = [encode_prompt(tiny_gemma2, t) for t in ("A man fell.", "Yes, and then it rained.")]
    tokens, real = pad_batch(rows, pad_id(tiny_gemma2), side="left")
    mask = real.long()
    full = last_logits(tiny_gemma2, tokens, mask, keep=4)
    cache = new_cache(tiny_gemma2, len(rows))
    last_logits(tiny_gemma2, tokens[:, :-4], mask[:, :-4], cache=cache)
    cached = last_logits(tiny_gemma2, tokens[:, -4:], mask, keep=4, cache=cache)
    torch.testing.assert_close(cached, full, rtol=1e-4, atol=1e-4)


def test_a_text_does_not_depend_on_its_batch(tiny_gemma2, direction):
    prompts = ["A man fell.", "It rained for days and nobody came.", "Yes."]
    alphas, seeds = [-1.0, 0.0, 2.0], [1, 2, 3]
    together = generate_steered(
        tiny_gemma2, prompts, direction, alphas, seeds=seeds, max_new_tokens=12
    )
    for made, prompt, alpha, seed in zip(together, prompts, alphas, seeds, strict=True):
        alone = generate_steered(
            tiny_gemma2, [prompt], direction, [alpha], seeds=[seed], max_new_tokens=12
        )
        assert alone == [made]


def test_alpha_zero_writes_what_the_model_writes_without_a_hook(tiny_gemma2, direction):
    ids = encode_prompt(tiny_gemma2, "A man fell.")
    rows = SharedRows.of([ids] * 2, [0.0, 0.0], [1, 2])
    assert sample_rows(tiny_gemma2, rows, direction, 12, 0.7) == sample_rows(
        tiny_gemma2, rows, None, 12, 0.7
    )


def test_a_generation_that_fails_leaves_no_hook_behind(tiny_gemma2, direction):
    untouched = logits_of(tiny_gemma2)
    for positions in ("all", "new_tokens"):
        with pytest.raises(NonFiniteError, match="steering with alpha"):
            generate_steered(
                tiny_gemma2,
                ["A man fell."],
                replace(direction, raw_norm=1e38),
                [1e10],
                seeds=[0],
                positions=positions,
            )
        assert torch.equal(untouched, logits_of(tiny_gemma2))


def test_greedy_generation_equals_one_full_pass_a_token(tiny_gemma2, direction):
    made = generate_steered(
        tiny_gemma2,
        ["A man fell."],
        direction,
        [1.5],
        seeds=[0],
        max_new_tokens=8,
        temperature=0.0,
    )[0]
    ids = list(encode_prompt(tiny_gemma2, "A man fell."))
    start = len(ids)
    with tiny_gemma2.hooks(fwd_hooks=[add_direction(direction, 1.5)]), torch.no_grad():
        for _ in range(made.n_new_tokens):
            ids.append(int(tiny_gemma2(torch.tensor([ids]))[0, -1].argmax()))
    assert made.text == tiny_gemma2.tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_the_batch_size_bounds_memory_and_not_the_result(tiny_gemma2, direction):
    prompts = ["A man fell.", "It rained.", "A man fell."]
    options = {"seeds": [4, 5, 6], "max_new_tokens": 6}
    whole = generate_steered(tiny_gemma2, prompts, direction, [1.0, 0.0, -1.0], **options)
    parts = generate_steered(
        tiny_gemma2, prompts, direction, [1.0, 0.0, -1.0], batch_rows=1, **options
    )
    assert [c.text for c in whole] == [c.text for c in parts]


def test_draws_follow_the_softmax_and_never_leave_its_support():
    logits = torch.randn((1, 1300), generator=torch.Generator().manual_seed(1)) * 2
    logits[:, 500:900] = -1e4
    expected = (logits / 0.7).softmax(-1)[0]
    generators = [torch.Generator().manual_seed(i) for i in range(20_000)]
    drawn = _next_tokens(logits.expand(20_000, -1), generators, 0.7)[:, 0]
    frequencies = torch.bincount(drawn, minlength=1300) / len(drawn)
    assert frequencies[500:900].sum() == 0
    error = (expected * (1 - expected) / len(drawn)).sqrt()
    assert ((frequencies - expected).abs() < 5 * error + 1e-3).all()


def test_scores_equal_full_passes_at_every_layer_and_position(tiny_gemma2):
    directions = fit_directions(extract_activations(tiny_gemma2, PAIRS))
    prompt = encode_prompt(tiny_gemma2, "A man fell.")
    texts = [encode(tiny_gemma2, t) for t in ("I stop.", "I stay here.", "Go")]
    texts = [t.ids[t.start :] for t in texts]
    hooks = {
        layer: [None, add_direction(directions[layer], 1.5), ablate_direction(directions[layer])]
        for layer in (0, 2, 3)
    }
    scored = continuation_log_probs(tiny_gemma2, prompt, texts, hooks)
    sparse = continuation_log_probs(tiny_gemma2, prompt, texts, hooks, every=3)
    for layer, conditions in hooks.items():
        for row, hook in enumerate(conditions):
            for number, ids in enumerate(texts):
                tokens = torch.tensor([[*prompt, *ids]])
                with (
                    tiny_gemma2.hooks(fwd_hooks=[hook] if hook else []),
                    torch.no_grad(),
                ):
                    log_probs = tiny_gemma2(tokens).float().log_softmax(-1)[0, len(prompt) - 1 : -1]
                wanted = log_probs.gather(-1, torch.tensor(ids)[:, None])[:, 0].numpy()
                mine = scored[layer][row, number]
                np.testing.assert_allclose(mine[: len(ids)], wanted, atol=1e-4)
                assert np.isnan(mine[len(ids) :]).all()
                np.testing.assert_array_equal(
                    np.isnan(sparse[layer][row, number]),
                    [t % 3 > 0 or t >= len(ids) for t in range(len(mine))],
                )
    np.testing.assert_allclose(sparse[2][:, :, ::3], scored[2][:, :, ::3], atol=1e-5)


def test_perplexity_is_that_of_the_text_after_its_prompt(tiny_gemma2):
    with_text, empty = perplexities(tiny_gemma2, [("A man fell.", "I stop."), ("A man fell.", " ")])
    text = encode(tiny_gemma2, "I stop.", "A man fell.")
    tokens = torch.tensor([text.ids])
    with torch.no_grad():
        log_probs = tiny_gemma2(tokens).float().log_softmax(-1)[0, text.start - 1 : -1]
    loss = -log_probs.gather(-1, tokens[0, text.start :, None]).mean().item()
    assert with_text == pytest.approx(math.exp(loss), rel=1e-4)
    assert empty is None


def test_coherence_wants_words_that_are_neither_repeated_nor_surprising():
    good = Coherence(20, 8.0, 0.1, 0.9, truncated=False)
    assert good.coherent(6.0)
    for bad in (
        replace(good, n_words=4),
        replace(good, repetition=0.5),
        replace(good, perplexity=19.0),
        replace(good, n_words=0, perplexity=None),
    ):
        assert not bad.coherent(6.0)


def test_a_plain_instruction_goes_before_the_prompt():
    asked = instructed(PROMPT)
    assert asked.prompt.startswith(INSTRUCTION)
    assert asked.prompt.endswith(PROMPT.prompt)
    assert asked.negative_actions == PROMPT.negative_actions


@pytest.mark.parametrize(
    ("prompts", "alphas", "options", "message"),
    [
        ([], [], {}, "empty list"),
        (["a"], [1.0, 2.0], {}, "for each row"),
        (["  "], [1.0], {}, "prompt"),
        (["a"], [math.inf], {}, "finite"),
        (["a"], [1.0], {"max_new_tokens": 100_000}, "n_ctx"),
        (["a"], [1.0], {"temperature": -1.0}, "temperature"),
    ],
)
def test_bad_requests_are_refused(tiny_gemma2, direction, prompts, alphas, options, message):
    with pytest.raises(InputError, match=message):
        generate_steered(
            tiny_gemma2, prompts, direction, alphas, seeds=[0] * len(prompts), **options
        )


def test_repetition_is_zero_for_fresh_text_and_near_one_for_a_loop():
    assert repetition("one two three four five six") == 0
    assert repetition("go on now " * 30) > 0.9
    assert repetition("too short") == 0


def test_any_hook_can_be_sampled_with_and_measured(tiny_gemma2, direction):
    """A method of the test's own: it sets the activation itself to the direction, far out."""
    model = tiny_gemma2

    def replaced(direction, alpha):
        def steer(resid, hook=None):
            far = alpha * direction.raw_norm * direction.vector
            return resid if alpha == 0 else far.expand_as(resid)

        return direction.site.hook_name, steer

    rows = {"seeds": [0, 0], "max_new_tokens": 4, "temperature": 0.0}
    own, added = (
        generate_steered(model, ["I go"] * 2, direction, [0.0, 50.0], method=m, **rows)
        for m in (replaced, add_direction)
    )
    assert own[0].text == added[0].text
    assert own[1].text != own[0].text
    by_method = [
        action_log_odds(model, PROMPT, [direction] * 2, [0.0, 50.0], method=m)
        for m in (replaced, add_direction)
    ]
    np.testing.assert_allclose(by_method[0][0], by_method[1][0], atol=1e-5)
    assert abs(by_method[0][1] - by_method[1][1]) > 1e-4
