"""What a model reads is what the makers of its tokenizer would have it read, family by family."""

from datetime import datetime
from itertools import pairwise

import pytest
import torch
from conftest import BACKENDS
from tiny_models import tiny_llama_config
from tokenizer_families import FAMILIES, family_tokenizer, save_family
from transformers import AutoTokenizer, LlamaForCausalLM

from empathy_lens.directions import random_directions
from empathy_lens.engine import show_tokens, token_projections
from empathy_lens.engine.tokens import encode, encode_pieces, encode_prompt
from empathy_lens.errors import InputError
from empathy_lens.models import load_model, model_card
from empathy_lens.types import Direction, Site

TEXTS = ("I stop and help.", " two\n\nlines", "x")
PROMPT = " A man lies on the path.\nWhat now? "
CHATS = [name for name, family in FAMILIES.items() if family.template]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A function from a family's name to a model's folder."""
    root = tmp_path_factory.mktemp("families")
    config = tiny_llama_config(family_tokenizer(FAMILIES["phi-3"]))
    LlamaForCausalLM(config).save_pretrained(root / "model")
    made = {}

    def folder(name):
        if name not in made:
            made[name] = save_family(root / str(len(made)), root / "model", FAMILIES[name])
        return made[name]

    return folder


@pytest.fixture(scope="module")
def family(folder_of):
    """A function that loads a family's model, and its tokenizer as transformers alone reads it."""
    loaded = {}

    def load(name, **options):
        key = (name, *options.items())
        if key not in loaded:
            folder = folder_of(name)
            model = load_model(folder, backend=BACKENDS[0], device="cpu", **options)
            loaded[key] = model, AutoTokenizer.from_pretrained(folder)
        return loaded[key]

    return load


def templated(tokenizer, prompt):
    chat = [{"role": "user", "content": prompt}]
    return tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_text_alone_is_what_its_tokenizer_makes_of_it(family, name):
    model, tokenizer = family(name)
    for text in TEXTS:
        encoded = encode(model, text)
        assert encoded.ids == tuple(tokenizer(text).input_ids)
        assert encoded.completion == tuple(tokenizer(text, add_special_tokens=False).input_ids)
        if not encoded.n_after:
            assert model.to_tokens(text)[0].tolist() == list(encoded.ids)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_prompt_is_what_the_template_makes_of_it(family, name):
    model, tokenizer = family(name)
    ids = encode_prompt(model, PROMPT)
    assert ids == templated(tokenizer, PROMPT)
    # Games hand their text over in pieces.
    assert encode_pieces(model, PROMPT.splitlines(keepends=True)) == ids
    read = encode(model, TEXTS[0], PROMPT)
    assert read.ids[: read.start] == ids
    assert read.completion == tuple(tokenizer(TEXTS[0], add_special_tokens=False).input_ids)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name, made in FAMILIES.items() if made.bos]
    + [(name, {"bos": "always"}) for name in ("gemma-2-it", "phi-3", "qwen base with a bos")],
)
def test_there_are_never_two_bos(family, name, options):
    model, tokenizer = family(name, **options)
    for text, prompt in ((TEXTS[0], ""), (TEXTS[0], PROMPT)):
        mark = tokenizer.bos_token
        written = encode(model, mark + text, mark + prompt if prompt else "").ids
        for ids in (encode(model, text, prompt).ids, written):
            # SmolLM2's opens every turn: there it stands more than once, but never in a row.
            assert (tokenizer.bos_token_id, tokenizer.bos_token_id) not in set(pairwise(ids))
            assert not options or ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gemma-3 base", "plain, one bos"),
        ("llama-2-chat", "chat, one bos"),
        ("qwen-2.5-instruct", "chat, no bos"),
        ("qwen base with a bos", "plain, no bos"),
    ],
)
def test_provenance_says_how_texts_became_tokens(family, name, said):
    provenance = model_card(family(name)[0]).provenance
    assert (provenance.prompt_format, provenance.bos_rule) == (said, "tokenizer")


def test_bos_everywhere_is_an_option_and_provenance_says_so(family):
    model, tokenizer = family("qwen base with a bos", bos="always")
    ids = (tokenizer.bos_token_id, *tokenizer(TEXTS[0]).input_ids)
    assert encode(model, TEXTS[0]).ids == tuple(model.to_tokens(TEXTS[0])[0].tolist()) == ids
    provenance = model_card(model).provenance
    assert (provenance.prompt_format, provenance.bos_rule) == ("plain, one bos", "always")
    phi, tokenizer = family("phi-3", bos="always")
    assert encode_prompt(phi, PROMPT) == (tokenizer.bos_token_id, *templated(tokenizer, PROMPT))


def test_what_a_tokenizer_writes_after_a_text_is_read_but_not_pooled(family):
    model, tokenizer = family("olmo, which ends texts")
    encoded = encode(model, TEXTS[0])
    assert encoded.ids[-1] == tokenizer.eos_token_id
    assert (encoded.n_after, encoded.end) == (1, len(encoded.ids) - 1)
    assert tokenizer.decode(encoded.completion) == TEXTS[0]
    assert encode(model, TEXTS[0], PROMPT).n_after == 0


@pytest.mark.parametrize("name", ["qwen-2.5-instruct", "phi-3"])
def test_transformer_lens_leaves_the_tokenizer_as_it_was_made(folder_of, backend, name):
    model = load_model(folder_of(name), backend=backend, device="cpu")
    made = AutoTokenizer.from_pretrained(folder_of(name))
    assert (model.tokenizer.bos_token, model.tokenizer.eos_token) == (
        made.bos_token,
        made.eos_token,
    )
    assert model.tokenizer("a b").input_ids == made("a b").input_ids
    assert torch.equal(model.to_tokens("a b"), made("a b", return_tensors="pt").input_ids)


def test_a_date_that_a_template_writes_is_said_and_can_be_fixed(family):
    today, _ = family("llama-3-instruct")
    said = model_card(today).provenance.prompt_format
    assert said == f"chat, one bos, dated {datetime.now():%Y-%m-%d}"
    fixed, tokenizer = family("llama-3-instruct", date="2024-07-26")
    assert model_card(fixed).provenance.prompt_format == "chat, one bos, dated 2024-07-26"
    shown = tokenizer.decode(encode_prompt(fixed, PROMPT))
    assert "Today Date: 26 Jul 2024\n" in shown
    assert shown.replace("26 Jul 2024", f"{datetime.now():%d %b %Y}") == tokenizer.decode(
        templated(tokenizer, PROMPT)
    )


def test_a_date_that_is_none_is_refused(folder_of):
    with pytest.raises(InputError, match="a day as in 2026-07-26, got '26 Jul'"):
        load_model(folder_of("phi-3"), device="cpu", date="26 Jul")


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{% for i in range(10 ** 9) %}{{ i }}{% endfor %}", "OverflowError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ raise_exception('no turns here') }}", "no turns here"),
        ("{% if %}", "TemplateSyntaxError"),
    ],
)
def test_a_chat_template_that_fails_is_named(family, monkeypatch, template, match):
    model, _ = family("qwen-3")
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    with pytest.raises(InputError, match=f"the chat template of .*tokenizer_config.*{match}"):
        encode_prompt(model, PROMPT)


@pytest.mark.parametrize("name", FAMILIES)
def test_shown_tokens_say_where_each_comes_from(family, name):
    model, tokenizer = family(name)
    for prompt in ("", PROMPT):
        shown, read = show_tokens(model, prompt, TEXTS[0]), encode(model, TEXTS[0], prompt)
        assert shown.ids == read.ids
        pooled = [i for i, pooled in enumerate(shown.pooled) if pooled]
        assert pooled == list(range(read.start, read.end))
        of_prompt = [i for i, part in zip(shown.ids, shown.parts, strict=True) if part == "prompt"]
        assert tokenizer.decode(of_prompt).strip() == prompt.strip()
        templated = FAMILIES[name].template is not None and bool(prompt)
        assert ("template" in shown.parts) == templated


def test_shown_tokens_print_one_a_line_and_views_hold_the_same(family):
    model, _ = family("qwen-2.5-instruct")
    shown = show_tokens(model, "Who?", "Me.")
    lines = str(shown).splitlines()
    assert lines[0] == f"{len(shown.ids)} tokens, chat, no bos (bos rule: tokenizer); * is pooled"
    assert lines[2].split() == ["0", str(shown.ids[0]), "template", "'<|im_start|>'"]
    assert lines[-1].split() == [
        str(len(shown.ids) - 1),
        "*",
        str(shown.ids[-1]),
        "completion",
        "'.'",
    ]
    direction = Direction(
        random_directions(1, 32, seed=0)[0],
        Site(1),
        "random",
        1.0,
        0.0,
        model_card(model).provenance,
    )
    seen = token_projections(model, direction, "Me.", "Who?")
    assert (seen.tokens, tuple(seen.pooled.tolist())) == (shown.tokens, shown.pooled)


def test_a_prompt_alone_is_shown_as_sampling_reads_it(family):
    model, _ = family("llama-2-chat")
    shown = show_tokens(model, PROMPT)
    assert (shown.ids, any(shown.pooled)) == (encode_prompt(model, PROMPT), False)
    with pytest.raises(InputError, match="a prompt, a text or both"):
        show_tokens(model)
