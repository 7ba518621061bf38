"""Positions are those of the text, whatever a pass shows of it: cached or not, padded or not.

The truth is one full forward pass a token over each row alone, without cache and without padding,
with the push added by hand.
"""

from functools import cache
from itertools import product

import pytest
import torch

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_direction
from empathy_lens.engine.continuations import read_continuations
from empathy_lens.engine.key_values import read_last
from empathy_lens.engine.logits import last_logits, new_cache
from empathy_lens.engine.token_projections import token_projections
from empathy_lens.engine.tokens import encode_prompt, pad_batch, pad_id
from empathy_lens.errors import InputError
from empathy_lens.games import play_games
from empathy_lens.steering import action_log_odds, add_direction, generate_steered, steered
from empathy_lens.types import ContrastivePair, SteeringPrompt

PAIRS = [
    ContrastivePair(f"p{i}", "s", f"I stop for number {i}.", f"I pass by {i}.", "A man fell.")
    for i in range(4)
]
PROMPTS = ["A man fell.", "It rained for days."]
ALPHA, N_NEW = 6.0, 3
ACTS = {
    "all": lambda position, n_prompt: True,
    "prompt": lambda position, n_prompt: position < n_prompt,
    "last_prompt_token_on": lambda position, n_prompt: position >= n_prompt - 1,
    "last_prompt_token": lambda position, n_prompt: position == n_prompt - 1,
    "new_tokens": lambda position, n_prompt: position >= n_prompt,
    "slice": lambda position, n_prompt: position in range(3, 16, 4),
    "numbers": lambda position, n_prompt: position in (0, 12, 16),
}
POSITIONS = {name: name for name in ACTS} | {"slice": slice(3, 16, 4), "numbers": [0, 12, 16]}
each_position = pytest.mark.parametrize("named", ACTS)


@pytest.fixture(scope="module")
def direction(tiny_gemma2):
    return fit_direction(extract_activations(tiny_gemma2, PAIRS), layer=2)


@pytest.fixture(scope="module")
def rows(tiny_gemma2):
    """Two prompts of unequal length, as token ids."""
    return [encode_prompt(tiny_gemma2, prompt) for prompt in PROMPTS]


def full_logits(model, ids, direction, named, n_prompt):
    """Logits at every position of one text, pushed by hand."""
    push = ALPHA * direction.raw_norm * direction.vector
    acts = torch.tensor([ACTS[named](p, n_prompt) for p in range(len(ids))])

    def by_hand(resid, hook):
        return resid + acts[:, None] * push

    with model.hooks(fwd_hooks=[(direction.site.hook_name, by_hand)]), torch.no_grad():
        return model(torch.tensor([ids]))[0].float()


@pytest.fixture(scope="module")
def written(tiny_gemma2, direction, rows):
    """A function to each row's likeliest tokens, one full pass each."""

    @cache
    def of(named):
        texts = [list(ids) for ids in rows]
        for text, ids in zip(texts, rows, strict=True):
            for _ in range(N_NEW):
                logits = full_logits(tiny_gemma2, text, direction, named, len(ids))
                text.append(int(logits[-1].argmax()))
        return [text[-N_NEW:] for text in texts]

    return of


@each_position
def test_generation_steers_the_positions_of_each_row(tiny_gemma2, direction, written, named):
    made = generate_steered(
        tiny_gemma2,
        PROMPTS,
        direction,
        [ALPHA] * 2,
        seeds=[0, 0],
        max_new_tokens=N_NEW,
        temperature=0.0,
        positions=POSITIONS[named],
    )
    for completion, expected in zip(made, written(named), strict=True):
        ids = expected[: completion.n_new_tokens]
        assert completion.text == tiny_gemma2.tokenizer.decode(ids, skip_special_tokens=True)


@each_position
def test_transformer_lens_own_generate_steers_them_too(
    tiny_gemma2, direction, rows, written, named
):
    options = {"do_sample": False, "verbose": False, "stop_at_eos": False, "return_type": "tokens"}
    hook = add_direction(direction, ALPHA, positions=POSITIONS[named])
    texts = [tiny_gemma2.tokenizer.decode(ids[1:]) for ids in rows]
    padded, _ = pad_batch(rows, pad_id(tiny_gemma2), side="left")
    with steered(tiny_gemma2, [hook], n_prompt=[len(ids) for ids in rows]):
        for cached in (True, False):
            made = tiny_gemma2.generate(
                texts, max_new_tokens=N_NEW, use_past_kv_cache=cached, **options
            )
            assert torch.equal(made[:, :-N_NEW], padded)
            assert made[:, -N_NEW:].tolist() == written(named)


def test_the_first_new_token_is_steered_where_it_is_written(tiny_gemma2, direction):
    """By default all, ``last_prompt_token_on`` too; after the prompt it would be too late."""
    options = {"seeds": [0, 0], "max_new_tokens": 1, "temperature": 0.0}
    moved = {}
    for at in ("all", "last_prompt_token_on", "new_tokens"):
        plain, pushed = generate_steered(
            tiny_gemma2, PROMPTS[:1] * 2, direction, [0.0, 500.0], positions=at, **options
        )
        moved[at] = plain.text != pushed.text
    assert moved == {"all": True, "last_prompt_token_on": True, "new_tokens": False}


def logits_of_batch(model, rows, n_prompt, *, side, cached):
    """Logits of the last columns of padded rows, read at once or half of each prompt before."""
    if not cached:
        tokens, mask = pad_batch(rows, pad_id(model), side=side)
        logits = model(tokens, attention_mask=mask.long())
        return [row[real] for row, real in zip(logits, mask, strict=True)]
    if side == "right":
        past = read_last(model, [ids[: n - 3] for ids, n in zip(rows, n_prompt, strict=True)]).past
        rest = [ids[n - 3 :] for ids, n in zip(rows, n_prompt, strict=True)]
        return list(read_last(model, rest, past=past).logits[:, None])
    tokens, mask = pad_batch(rows, pad_id(model), side="left")
    cache = new_cache(model, len(rows))
    last_logits(model, tokens[:, :-7], mask[:, :-7].long(), cache=cache)
    return list(last_logits(model, tokens[:, -7:], mask.long(), keep=7, cache=cache))


@each_position
def test_a_padded_pass_steers_the_tokens_and_not_the_columns(tiny_gemma2, direction, rows, named):
    longer = [(*ids, *encode_prompt(tiny_gemma2, "Yes.")[1:]) for ids in rows]
    n_prompt = [len(ids) for ids in rows]
    expected = [
        full_logits(tiny_gemma2, ids, direction, named, n)
        for ids, n in zip(longer, n_prompt, strict=True)
    ]
    hook = add_direction(direction, ALPHA, positions=POSITIONS[named])
    with steered(tiny_gemma2, [hook], n_prompt=n_prompt), torch.no_grad():
        for side, cached in product(("left", "right"), (False, True)):
            found = logits_of_batch(tiny_gemma2, longer, n_prompt, side=side, cached=cached)
            for row, wanted in zip(found, expected, strict=True):
                torch.testing.assert_close(
                    row.float(), wanted[-len(row) :], rtol=1e-3, atol=1e-3, msg=f"{side} {cached}"
                )


@each_position
def test_log_odds_steer_the_positions_of_the_prompt_and_its_actions(
    tiny_gemma2, direction, rows, named
):
    actions = ("I help.", "I go on.")
    prompt = SteeringPrompt("s", PROMPTS[0], actions[:1], actions[1:])

    def method(direction, alpha):
        return add_direction(direction, alpha, positions=POSITIONS[named])

    (found,) = action_log_odds(tiny_gemma2, prompt, [direction], [ALPHA], method=method)
    means = []
    for action in actions:
        ids = tuple(tiny_gemma2.tokenizer(action, add_special_tokens=False).input_ids)
        whole = full_logits(tiny_gemma2, (*rows[0], *ids), direction, named, len(rows[0]))
        steps = whole[len(rows[0]) - 1 : -1].log_softmax(-1)
        means.append(steps.gather(1, torch.tensor(ids)[:, None]).mean().item())
    assert found == pytest.approx(means[0] - means[1], abs=1e-3)


def test_actions_that_are_read_as_a_tree_are_steered_at_their_own_positions(tiny_llama):
    """Continuations of one length follow each other in one sequence, two steps into the text."""
    direction = fit_direction(extract_activations(tiny_llama, PAIRS), layer=1)
    prompt = encode_prompt(tiny_llama, "A man.")
    phrases = [(40, 41, 42, 43), (40, 44, 45), (50, 51, 52)]
    for named in ACTS:
        hook = add_direction(direction, ALPHA, positions=POSITIONS[named])
        with steered(tiny_llama, [hook], n_prompt=len(prompt)):
            (found,) = read_continuations(tiny_llama, [prompt], [phrases]).log_probs
        for phrase, log_probs in zip(phrases, found, strict=True):
            whole = full_logits(tiny_llama, (*prompt, *phrase), direction, named, len(prompt))
            steps = whole[len(prompt) - 1 : -1].log_softmax(-1)
            expected = steps.gather(1, torch.tensor(phrase)[:, None])[:, 0]
            torch.testing.assert_close(log_probs, expected, rtol=1e-3, atol=1e-3)


def test_a_mask_is_one_of_columns_and_must_cover_the_text(tiny_gemma2, direction, rows):
    tokens = torch.tensor([rows[0]])
    chosen = torch.zeros(tokens.shape, dtype=torch.bool)
    chosen[0, -1] = True
    with steered(tiny_gemma2, [add_direction(direction, ALPHA, positions=chosen)]):
        found = last_logits(tiny_gemma2, tokens, torch.ones_like(tokens))[0, -1]
        with pytest.raises(InputError, match=r"at least 28 columns.*last_prompt_token"):
            last_logits(tiny_gemma2, tokens.repeat(1, 2), torch.ones_like(tokens.repeat(1, 2)))
    expected = full_logits(tiny_gemma2, rows[0], direction, "last_prompt_token", len(rows[0]))
    torch.testing.assert_close(found, expected[-1], rtol=1e-3, atol=1e-3)


def test_positions_that_cannot_be_known_are_refused(tiny_gemma2, direction, rows):
    tokens = torch.tensor([rows[0]])
    named, numbered = (
        add_direction(direction, ALPHA, positions=at) for at in ("new_tokens", slice(3, None))
    )
    for hook in (named, numbered):
        with (
            pytest.raises(InputError, match="bare forward hook"),
            tiny_gemma2.hooks(fwd_hooks=[hook]),
        ):
            tiny_gemma2.generate(tokens, max_new_tokens=2, verbose=False)
    with pytest.raises(InputError, match="length of the prompt"), steered(tiny_gemma2, [named]):
        tiny_gemma2(tokens)
    with (
        pytest.raises(InputError, match="each of 1 rows"),
        steered(tiny_gemma2, [named], n_prompt=[3, 4]),
    ):
        tiny_gemma2(tokens)
    with (
        pytest.raises(InputError, match="1 token or more"),
        steered(tiny_gemma2, [named], n_prompt=0),
    ):
        pass
    with pytest.raises(InputError, match="length of the prompt"):
        play_games(tiny_gemma2, [("the_duel", 0)], hooks=[named], layers=())
    mask = torch.ones((1, 3), dtype=torch.bool)
    with pytest.raises(InputError, match="a mask cannot follow"):
        generate_steered(tiny_gemma2, ["A"], direction, [1.0], seeds=[0], positions=mask)


@pytest.mark.parametrize(
    "positions",
    [
        "prompts",
        slice(-3, None),
        slice(5, 0, -1),
        slice(0, 5, 0),
        slice("a", "b"),
        [2, -1],
        [True],
    ],
)
def test_unknown_positions_are_refused_when_a_hook_is_made(direction, positions):
    with pytest.raises(InputError, match="positions: expected"):
        add_direction(direction, 1.0, positions=positions)


def test_a_token_view_marks_the_positions_that_were_steered(tiny_gemma2, direction):
    prompt, text = PROMPTS[0], "I help."
    n_prompt = len(encode_prompt(tiny_gemma2, prompt))
    for named, acts in ACTS.items():
        read = token_projections(tiny_gemma2, direction, text, prompt, steered=POSITIONS[named])
        n_pos = len(read.tokens)
        assert read.steered.tolist() == [acts(p, n_prompt) for p in range(n_pos)]
