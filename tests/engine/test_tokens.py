import pytest
import torch
from tiny_models import (
    BOS,
    CHAT_TEMPLATE_WITHOUT_BOS,
    EOS,
    PAD,
    save_tiny_llama,
)

from empathy_lens.engine.tokens import encode, encode_prompt, pad_batch, pad_id
from empathy_lens.errors import InputError
from empathy_lens.models import load_model

PROMPT, TEXT = "A man lies on the path.", "I stop and help him up."


@pytest.fixture(scope="module")
def llama_whose_template_has_no_bos(tmp_path_factory, backend):
    folder = tmp_path_factory.mktemp("models") / "template-without-bos"
    save_tiny_llama(folder, chat_template=CHAT_TEMPLATE_WITHOUT_BOS)
    return load_model(folder, backend=backend, device="cpu")


@pytest.fixture(scope="module")
def llama_without_bos(tmp_path_factory, backend):
    folder = tmp_path_factory.mktemp("models") / "no-bos"
    save_tiny_llama(folder, chat_template=CHAT_TEMPLATE_WITHOUT_BOS, with_bos=False)
    return load_model(folder, backend=backend, device="cpu")


@pytest.fixture(params=["tiny_gemma2", "tiny_llama", "llama_whose_template_has_no_bos"])
def model(request, backend):
    """Plain prompts; a chat template that writes the BOS; a chat template that does not."""
    return request.getfixturevalue(request.param)


def decoded(model, ids):
    return model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("prompt", ["", PROMPT])
@pytest.mark.parametrize("written", ["<bos>", "<bos><bos>"])
def test_a_bos_that_is_written_in_the_text_is_not_doubled(model, prompt, written):
    """A text that was rendered elsewhere often brings its own."""
    ids = encode(model, TEXT, f"{written}{prompt}" if prompt else "").ids
    assert ids == encode(model, TEXT, prompt).ids
    assert ids.count(BOS) <= 1
    assert encode(model, f"{written}{TEXT}") == encode(model, TEXT)


def test_a_text_of_nothing_but_a_bos_is_empty(model):
    with pytest.raises(InputError, match="at least one token"):
        encode(model, "<bos>")


def test_a_model_without_bos_gets_none(llama_without_bos):
    alone = encode(llama_without_bos, TEXT)
    assert alone.start == 0
    assert decoded(llama_without_bos, alone.ids) == TEXT
    assert encode(llama_without_bos, TEXT, PROMPT).start > 0


@pytest.mark.parametrize("prompt", ["", PROMPT])
def test_the_completion_is_exactly_the_tokens_from_start(model, prompt):
    encoded = encode(model, TEXT, prompt)
    assert decoded(model, encoded.ids[encoded.start :]) == TEXT
    assert encoded.n_completion == len(TEXT.encode())
    assert encoded.n_completion + encoded.start == len(encoded.ids)
    if not prompt:
        assert encoded.start == 1


def test_a_plain_prompt_is_parted_from_the_completion_by_a_blank_line(tiny_gemma2):
    assert decoded(tiny_gemma2, encode(tiny_gemma2, TEXT, PROMPT).ids) == (
        f"<bos>{PROMPT}\n\n{TEXT}"
    )


def test_a_chat_prompt_is_the_users_turn_and_the_completion_the_models(
    tiny_llama, llama_whose_template_has_no_bos
):
    expected = f"<user>{PROMPT}<end><model>{TEXT}"
    for model, bos in ((tiny_llama, "<bos>"), (llama_whose_template_has_no_bos, "")):
        assert decoded(model, encode(model, TEXT, PROMPT).ids) == bos + expected


def test_both_sides_of_a_pair_share_the_prompts_tokens(model):
    positive, negative = encode(model, TEXT, PROMPT), encode(model, " I walk on.", PROMPT)
    start = positive.start
    assert start == negative.start
    assert positive.ids[:start] == negative.ids[:start] == encode_prompt(model, PROMPT)


@pytest.mark.parametrize("prompt", ["", PROMPT])
def test_an_empty_completion_is_refused(model, prompt):
    with pytest.raises(InputError, match="at least one token, got ''"):
        encode(model, "", prompt)


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused_where_one_is_needed(model, prompt):
    with pytest.raises(InputError, match="it is empty"):
        encode_prompt(model, prompt)


def test_a_text_may_fill_the_context_but_not_exceed_it(model):
    assert len(encode(model, "a" * 511).ids) == 512
    with pytest.raises(InputError, match="513 tokens, the model was loaded for 512"):
        encode(model, "a" * 512)
    with pytest.raises(InputError, match="the model was loaded for 512"):
        encode_prompt(model, "a" * 512)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_keeps_every_token_in_order_under_the_mask(side):
    rows = [(5, 6, 7), (8,), (9, 10)]
    tokens, mask = pad_batch(rows, PAD, side)
    assert tokens.shape == mask.shape == (3, 3)
    for row, ids in enumerate(rows):
        assert tuple(tokens[row][mask[row]].tolist()) == ids
        assert (tokens[row][~mask[row]] == PAD).all()
    edge = 0 if side == "right" else -1
    assert mask[:, edge].all()


def test_rows_of_one_length_are_not_padded():
    tokens, mask = pad_batch([(1, 2), (3, 4)], PAD)
    assert mask.all()
    assert torch.equal(tokens, torch.tensor([[1, 2], [3, 4]]))


def test_eos_pads_where_the_tokenizer_has_no_pad(tiny_gemma2, monkeypatch):
    assert pad_id(tiny_gemma2) == PAD
    monkeypatch.setitem(tiny_gemma2.tokenizer._special_tokens_map, "pad_token", None)
    assert pad_id(tiny_gemma2) == EOS
