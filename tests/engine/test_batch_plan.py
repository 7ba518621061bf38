"""Every text is read once, in batches within the budget, its prompt once where it is shared."""

from hypothesis import given
from hypothesis import strategies as st

from empathy_lens.engine.tokens import WORTH_SHARING, EncodedText, distinct_positions, plan_batches

TEXTS = st.lists(
    st.builds(
        lambda prompt, n: EncodedText(
            (*([prompt] * (10 + 10 * prompt)), *range(n)), 10 + 10 * prompt
        ),
        st.integers(0, 3),
        st.integers(1, 60),
    ),
    max_size=40,
)


@given(TEXTS, st.integers(1, 400), st.booleans())
def test_every_text_is_in_one_pass_and_every_pass_in_the_budget(encoded, budget, share):
    n_ctx = 100
    batches = plan_batches(encoded, batch_tokens=budget, n_ctx=n_ctx, share_prompts=share)
    passes = [rows for batch in batches for rows in batch.passes]
    assert sorted(i for rows in passes for i in rows) == list(range(len(encoded)))
    for batch in batches:
        owner = dict(batch.owner)
        assert (
            len(batch.prompts) <= 1 or len(batch.prompts) * max(map(len, batch.prompts)) <= budget
        )
        for rows in batch.passes:
            new = [encoded[i].n_completion if batch.prompts else len(encoded[i].ids) for i in rows]
            assert len(rows) == 1 or len(rows) * max(new) <= budget
            for i in rows if batch.prompts else ():
                assert batch.prompts[owner[i]] == encoded[i].ids[: encoded[i].start]
            if batch.prompts:
                assert max(encoded[i].start for i in rows) + max(new) <= n_ctx


@given(TEXTS, st.integers(1, 400))
def test_a_prompt_is_computed_once_where_that_saves_enough(encoded, budget):
    batches = plan_batches(encoded, batch_tokens=budget, n_ctx=1000)
    every = sum(len(text.ids) for text in encoded)
    starts = [text.start for text in encoded]
    saved = sum(
        (starts.count(start) - 1) * start
        for start in set(starts)
        if (starts.count(start) - 1) * start >= WORTH_SHARING
    )
    assert distinct_positions(encoded, batches) == every - saved


@given(TEXTS)
def test_the_same_texts_always_meet_in_the_same_batches(encoded):
    options = {"batch_tokens": 100, "n_ctx": 1000}
    assert plan_batches(encoded, **options) == plan_batches(list(encoded), **options)
