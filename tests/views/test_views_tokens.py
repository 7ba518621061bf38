"""Per-token views: the numbers add up, the text reads naturally, nothing in it can run."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
import torch
from hostile import HOSTILE
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_directions
from empathy_lens.engine.token_projections import (
    TokenExample,
    TokenProjections,
    TokenViews,
    shown_tokens,
)
from empathy_lens.errors import InputError
from empathy_lens.types import Concept, ContrastivePair
from empathy_lens.views import circuitsvis_view, token_text, token_view, view_of
from empathy_lens.views.page import template_text


def projections(
    tokens: list[str], layers: int = 3, pooled_from: int = 1, seed: int = 0
) -> TokenProjections:
    generator = torch.Generator().manual_seed(seed)
    position = torch.arange(len(tokens))
    values = 100 * torch.randn((layers, len(tokens)), generator=generator)
    values[:, 0] = 1e6
    return TokenProjections(
        tokens=tuple(tokens),
        values=values,
        layers=tuple(range(layers)),
        thresholds=tuple(10.0 * i for i in range(layers)),
        raw_norms=tuple(50.0 + i for i in range(layers)),
        pooled=position >= pooled_from,
        steered=position == len(tokens) - 1,
        bos=position == 0,
    )


def island(html: str) -> dict[str, object]:
    match = re.search(r'class="elt-data">(.*?)</script>', html, re.S)
    assert match is not None
    return dict(json.loads(match[1]))


def spans(html: str) -> list[tuple[str, str]]:
    text = html[html.index('class="elt-text"') :]
    text = text[: text.index("</p>")]
    return re.findall(r'<span class="([^"]*)" title="[^"]*">(.*?)</span>', text, re.S)


def shown_values(side: dict[str, str], layers: int) -> torch.Tensor:
    """What the page's script reads: float32, one row a layer, one column a shown unit."""
    values = torch.frombuffer(bytearray(base64.b64decode(side["values"])), dtype=torch.float32)
    return values.reshape(layers, -1).double()


def test_sums_over_shown_tokens_equal_the_pooled_projection() -> None:
    tokens = ["<bos>", " a", "", "", "👩", "\u200d", "👧", " b", "\n"]
    p = projections(tokens)
    side = island(view_of([p], ["text"]).fragment)["sides"][0]  # type: ignore[index]
    counts = torch.tensor([1, 1, 5, 1, 1], dtype=torch.float64)
    shown = shown_values(side, len(p.layers))
    means = (shown[:, 1:] * counts[1:]).sum(dim=1) / int(p.pooled.sum())
    norms, thresholds = torch.tensor(p.raw_norms), torch.tensor(p.thresholds)
    pooled = (p.pooled_projection() - thresholds) / norms
    torch.testing.assert_close(means, pooled.double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor(side["means"]), pooled, rtol=0, atol=1e-4)


def test_fragments_of_a_character_are_shown_as_one() -> None:
    html = view_of([projections(["<bos>", "", "", "é", "!", " 👍", "🏽", "."])], ["t"]).fragment
    assert [body for _, body in spans(html)] == ["&lt;bos&gt;", "é", "!", " 👍🏽", "."]


def test_bos_is_left_out_of_the_scale_and_context_and_steered_are_marked() -> None:
    html = view_of([projections(["<bos>", "p", "q", "r"], pooled_from=2)], ["t"]).fragment
    assert max(island(html)["scales"]) < 100  # type: ignore[call-overload]
    classes = [names.split()[1:] for names, _ in spans(html)]
    assert classes == [["b"], ["c"], ["f"], ["s"]]


def test_a_text_of_which_nothing_is_pooled_has_no_mean() -> None:
    context = projections(["<bos>", "p"], pooled_from=2)
    assert "mean of 0 pooled tokens – " in token_text(context, 0).plain
    assert 'pooled tokens <output class="elt-mean">–<' in view_of([context], ["t"]).fragment


def test_the_poles_are_the_concepts_own_and_shown_as_text() -> None:
    calm = replace(projections(["<bos>", "a", "b"]), concept=Concept("calm", "calm", "<hurried>"))
    html = view_of([calm], ["t"]).fragment
    assert "Most calm: " in html
    assert "Most &lt;hurried&gt;: " in html
    assert island(html)["poles"] == ["calm", "<hurried>"]
    assert "most <hurried>: " in token_text(calm, 0).plain
    assert "empath" not in (html + token_text(calm, 0).plain + template_text("tokens.js")).lower()


def test_a_token_example_needs_a_value_and_marks_for_every_token() -> None:
    with pytest.raises(InputError, match="each of 2 tokens"):
        TokenExample("t", "p", "s", ("a", "b"), ((1.0,),), (True, True), (False, False))
    example = TokenExample("t", "p", "s", ("a",), ((1.0,),), (True,), (False,))
    with pytest.raises(InputError, match=r"layer 3 among \[1, 2\]"):
        TokenViews(3, (1, 2), (example,))


def test_two_sides_share_one_scale() -> None:
    sides = [projections(["<bos>", "a", "b"], seed=seed) for seed in (1, 2)]
    data = island(view_of(sides, ["one", "two"]).fragment)
    for row, scale in enumerate(data["scales"]):  # type: ignore[arg-type, var-annotated]
        largest = max(float(s.relative()[row, 1:].abs().max()) for s in sides)
        assert scale == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_tokens_and_titles_are_shown_as_text(number: int) -> None:
    text = HOSTILE[number]
    view = view_of([projections(["<bos>", text, "a"])], [text], title=text)
    plain = view_of([projections(["<bos>", "word", "a"])], ["word"], title="word")
    for html, harmless in ((view.page(), plain.page()), (view.fragment, plain.fragment)):
        tags = [re.findall(r"<(/?\w+)", page.replace("<i>↵</i>", "")) for page in (html, harmless)]
        assert tags[0] == tags[1] or not text
        html.encode("utf-8")
    if text.isprintable() and 0 < len(text) < 100 and not text.isspace():
        assert text in [unescape(body) for _, body in spans(view.fragment)]


def test_a_long_text_over_many_layers_stays_below_three_megabytes() -> None:
    p = projections(["<bos>"] + [f" word{i % 97}" for i in range(3999)], layers=42)
    assert len(view_of([p], ["long"]).page().encode()) < 3_000_000


def test_a_page_loads_nothing_and_allows_only_its_own_script() -> None:
    page = view_of([projections(["<bos>", "a"])], ["t"]).page()
    assert "default-src 'none'; script-src 'sha256-" in page
    assert not re.search(r"""(src|href|action)\s*=|https?://|@import|url\(""", page)


@pytest.mark.parametrize("number", range(0, len(HOSTILE), 4))
def test_circuitsvis_gets_tokens_that_cannot_end_its_script(number: int) -> None:
    tokens = ["<bos>", HOSTILE[number], "</script><script>pwned()</script>"]
    html = str(circuitsvis_view(projections(tokens), layer=1))
    harmless = str(circuitsvis_view(projections(["<bos>", "a", "b"]), layer=1))
    assert html.lower().count("<script") == harmless.lower().count("<script")
    assert html.count("</script") == 1
    call = html[html.rindex("CircuitsVis.render(") :]
    assert "\\u003c/script>" in call
    assert "unpkg.com" not in html


def test_circuitsvis_refuses_a_layer_that_was_not_projected() -> None:
    with pytest.raises(InputError, match="layer 9"):
        circuitsvis_view(projections(["<bos>", "a"]), layer=9)


class Bytes:
    """A tokenizer whose every token is one byte, the hardest case for showing."""

    def decode(self, ids: list[int], **_: object) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize("text", ["plain", "é", "naïve 👩\u200d👧!", "日本語", "a\ufffdb\ufffd"])
def test_shown_tokens_join_to_the_text(text: str) -> None:
    shown = shown_tokens(Bytes(), list(text.encode()))
    assert "".join(shown) == text
    assert len(shown) == len(text.encode())
    assert "\ufffd" not in "".join(shown).replace("\ufffd", "", text.count("\ufffd"))


TEXTS = [
    "I stop, naïve or not.\n\nThe child  waits",
    "👩\u200d👩\u200d👧 hugs 👍🏽!",
    "日本語 and ελληνικά",
    "a literal Ġ and ▁ stay",
    " leading and trailing ",
]


def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2 has it: a space is Ġ, every other byte a letter of its own."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator(["I stop and wait for the child. The child waits."], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw)


def sentencepiece() -> PreTrainedTokenizerFast:
    """As Gemma has it: a space is ▁, characters that are not in the vocabulary are bytes."""
    vocab = {"<unk>": 0} | {f"<0x{i:02X}>": i + 1 for i in range(256)}
    pieces = ["▁", "▁the", "▁child", "▁stop", "I", ",", ".", "\n", *"abcdefghilnoprstuvwy", "👩"]
    vocab |= {piece: 257 + i for i, piece in enumerate(pieces)}
    scored = [(piece, -float(len(vocab) - i)) for piece, i in vocab.items()]
    raw = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    fused = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence(fused)
    return PreTrainedTokenizerFast(tokenizer_object=raw)


@pytest.mark.parametrize("make", [byte_level, sentencepiece])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_of_either_kind_read_naturally(
    make: Callable[[], PreTrainedTokenizerFast], text: str
) -> None:
    tokenizer = make()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    raw = tokenizer.convert_ids_to_tokens(ids)
    assert any(mark in "".join(raw) for mark in "Ġ▁")
    shown = shown_tokens(tokenizer, ids)
    # SentencePiece itself writes a space and ▁ alike, so only there a literal ▁ is a space.
    expected = text.replace("▁", " ") if make is sentencepiece else text
    assert "".join(shown) == expected
    html = view_of([projections(["<bos>", *shown])], ["t"]).fragment
    bodies = [unescape(body.replace("<i>↵</i>", "")) for _, body in spans(html)[1:]]
    assert "".join(bodies) == expected
    assert not any(body in ("\u200d", "🏽", "\ufffd", "") for body in bodies)


def test_broken_bytes_are_shown_as_replacement_characters_and_lose_nothing_after() -> None:
    shown = shown_tokens(Bytes(), [0xF0, 0x9F, 0x41, 0x42, 0xC3])
    assert "".join(shown).endswith("AB\ufffd")


def test_lengths_that_disagree_are_an_input_error() -> None:
    p = projections(["<bos>", "a"])
    with pytest.raises(InputError, match="positions"):
        TokenProjections(
            p.tokens[:1], p.values, p.layers, p.thresholds, p.raw_norms, p.pooled, p.steered, p.bos
        )


def test_a_view_of_chosen_layers_needs_their_directions(tiny_llama: Any) -> None:
    pairs = [
        ContrastivePair("a", "the_maze", "I stop.", "I go."),
        ContrastivePair("b", "the_maze", "We wait.", "We run."),
    ]
    directions = fit_directions(extract_activations(tiny_llama, pairs))
    view = token_view(tiny_llama, pairs[0], directions, layers=[0, 2])
    assert island(view.fragment)["layers"] == [0, 2]
    assert len(spans(view.fragment)) > 5
    with pytest.raises(InputError, match=r"expected some of \[1\], got \[2\]"):
        token_view(tiny_llama, "I stop.", directions[1], layers=[2])
