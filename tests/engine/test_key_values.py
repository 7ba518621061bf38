"""Reading on from kept keys and values equals reading everything at once."""

import pytest
import torch

from empathy_lens.engine.continuations import read_continuations
from empathy_lens.engine.key_values import read, read_last
from empathy_lens.engine.tokens import pad_batch
from empathy_lens.errors import InputError

CLOSE = 1e-4


def random_ids(n, seed):
    return torch.randint(6, 200, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


ROWS = [[1, *random_ids(30, 0)], [1, *random_ids(17, 1)], [1, *random_ids(24, 2)]]
CONTINUATIONS = [
    [random_ids(4, 3), random_ids(1, 4), random_ids(2, 5), random_ids(5, 6)],
    # Shared beginnings: one continuation is another's beginning, one stands twice, leaves meet.
    [[9, 8, 7], [9, 8, 6, 5], [9, 8, 6, 4], [9, 8], [9, 7, 7, 7], [9, 8, 6, 5], random_ids(3, 8)],
    [],
]


@pytest.fixture(params=["tiny_gemma2", "tiny_llama"])
def model(request, tiny_gemma2, tiny_llama):
    """One with a sliding window that is always outgrown, and one without a window."""
    return {"tiny_gemma2": tiny_gemma2, "tiny_llama": tiny_llama}[request.param]


def full_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]))[0].float()


def assert_next(model, found, ids):
    torch.testing.assert_close(found, full_logits(model, ids)[-1], atol=CLOSE, rtol=0)


def assert_continuations(model, scored):
    for ids, row, scores in zip(ROWS, CONTINUATIONS, scored.log_probs, strict=True):
        for continuation, log_probs in zip(row, scores, strict=True):
            steps = full_logits(model, [*ids, *continuation]).log_softmax(-1)[len(ids) - 1 : -1]
            wanted = steps[torch.arange(len(continuation)), continuation]
            torch.testing.assert_close(log_probs, wanted, atol=CLOSE, rtol=0)


def test_reading_in_two_parts_gives_the_logits_of_one_pass(model):
    cuts = [12, 5, 23]
    tokens, real = pad_batch([ids[:c] for ids, c in zip(ROWS, cuts, strict=True)], 0)
    first = read(model, tokens, real, real)
    tokens, real = pad_batch([ids[c:] for ids, c in zip(ROWS, cuts, strict=True)], 0)
    second = read(model, tokens, real, real, past=first.past)
    for part, rows in (
        (first.logits, [full_logits(model, ids)[:c] for ids, c in zip(ROWS, cuts, strict=True)]),
        (second.logits, [full_logits(model, ids)[c:] for ids, c in zip(ROWS, cuts, strict=True)]),
    ):
        torch.testing.assert_close(part, torch.cat(rows), atol=CLOSE, rtol=0)


def test_continuations_are_read_apart_from_one_another(model):
    assert_continuations(model, read_continuations(model, ROWS, CONTINUATIONS))


def test_one_row_with_one_continuation(model):
    """Nothing is padded and nothing hidden but what comes later."""
    ids, continuation = ROWS[0], CONTINUATIONS[0][0]
    ((found,),) = read_continuations(model, [ids], [[continuation]]).log_probs
    steps = full_logits(model, [*ids, *continuation]).log_softmax(-1)[len(ids) - 1 : -1]
    torch.testing.assert_close(found, steps[torch.arange(4), continuation], atol=CLOSE, rtol=0)


def test_continuations_after_a_past_that_was_cut_back(model):
    begun = read_continuations(model, ROWS, CONTINUATIONS).past.keep([9, 2, 20])
    rest = [ids[n:] for ids, n in zip(ROWS, (9, 2, 20), strict=True)]
    assert_continuations(model, read_continuations(model, rest, CONTINUATIONS, past=begun))


def test_continuations_leave_no_trace_in_what_is_kept(model):
    kept = read_continuations(model, ROWS, CONTINUATIONS).past
    assert kept.mask.sum(dim=1).tolist() == [len(ids) for ids in ROWS]
    more = [[7, 8, 9], [10], [11, 12]]
    reading = read_last(model, more, past=kept.keep([len(ids) for ids in ROWS]))
    for found, ids, new in zip(reading.logits, ROWS, more, strict=True):
        assert_next(model, found, ids + new)


def test_rows_can_be_repeated_and_left_out(model):
    past = read_last(model, ROWS).past.keep([17, 25, 31], [1, 2, 0])
    again = past.keep([25, 25], [1, 1])
    reading = read_last(model, [[7], [9, 10]], past=again)
    for found, new in zip(reading.logits, ([7], [9, 10]), strict=True):
        assert_next(model, found, [*ROWS[2][:25], *new])


def test_hooks_act_on_continuations_and_none_is_left_behind(model):
    def push(resid, hook=None):
        return resid + 1.0

    before = full_logits(model, ROWS[0])
    (plain, *_), *_ = read_continuations(model, ROWS, CONTINUATIONS).log_probs
    with model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", push)]):
        scored = read_continuations(model, ROWS, CONTINUATIONS)
        assert_continuations(model, scored)
    assert (scored.log_probs[0][0] - plain).abs().max() > 0.01
    assert torch.equal(full_logits(model, ROWS[0]), before)


def test_a_hook_on_the_attention_scores_acts_on_continuations_and_they_stay_apart(tiny_llama):
    """TransformerLens's own arithmetic, which a hook inside attention calls for."""

    def halve(scores, hook=None):
        return scores * 0.5

    name = "blocks.1.attn.hook_attn_scores"
    if name not in tiny_llama.hook_dict:
        pytest.skip("the bridge has no such hook point")
    with tiny_llama.hooks(fwd_hooks=[(name, halve)]):
        assert_continuations(tiny_llama, read_continuations(tiny_llama, ROWS, CONTINUATIONS))


def test_a_continuation_without_tokens_is_refused(model):
    with pytest.raises(InputError, match="at least one token"):
        read_continuations(model, ROWS[:1], [[[5], []]])


def test_more_tokens_than_were_read_cannot_be_kept(model):
    past = read_last(model, ROWS).past
    with pytest.raises(InputError, match="row 1 has read 18 tokens"):
        past.keep([5, 19, 5])
    with pytest.raises(InputError, match="a length for each of 3 rows"):
        past.keep([5, 5])
