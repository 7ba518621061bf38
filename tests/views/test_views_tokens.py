"""Per-token views: the numbers add up, the text reads naturally, nothing in it can run."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import torch
from hostile import HOSTILE

from empathy_lens.errors import InputError
from empathy_lens.token_projections import TokenProjections, shown_tokens
from empathy_lens.views.circuitsvis_view import circuitsvis_view
from empathy_lens.views.tokens_html import view_of


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


def test_sums_over_shown_tokens_equal_the_pooled_projection() -> None:
    tokens = ["<bos>", " a", "", "", "👩", "\u200d", "👧", " b", "\n"]
    p = projections(tokens)
    side = island(view_of([p], ["text"]).fragment)["sides"][0]  # type: ignore[index]
    counts = [1, 1, 5, 1, 1]
    for layer in p.layers:
        shown = side["values"][layer]
        assert len(shown) == len(counts)
        total = sum(v * n for v, n in zip(shown[1:], counts[1:], strict=True))
        mean = total / int(p.pooled.sum()) * p.raw_norms[layer] + p.thresholds[layer]
        assert mean == pytest.approx(float(p.pooled_projection()[layer]), rel=1e-3, abs=0.1)


def test_fragments_of_a_character_are_shown_as_one() -> None:
    html = view_of([projections(["<bos>", "", "", "é", "!", " 👍", "🏽", "."])], ["t"]).fragment
    assert [body for _, body in spans(html)] == ["&lt;bos&gt;", "é", "!", " 👍🏽", "."]


def test_bos_is_left_out_of_the_scale_and_context_and_steered_are_marked() -> None:
    html = view_of([projections(["<bos>", "p", "q", "r"], pooled_from=2)], ["t"]).fragment
    assert max(island(html)["scales"]) < 100  # type: ignore[call-overload]
    classes = [names.split()[1:] for names, _ in spans(html)]
    assert classes == [["b"], ["c"], [], ["s"]]


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


def test_broken_bytes_are_shown_as_replacement_characters_and_lose_nothing_after() -> None:
    shown = shown_tokens(Bytes(), [0xF0, 0x9F, 0x41, 0x42, 0xC3])
    assert "".join(shown).endswith("AB\ufffd")


def test_lengths_that_disagree_are_an_input_error() -> None:
    p = projections(["<bos>", "a"])
    with pytest.raises(InputError, match="positions"):
        TokenProjections(
            p.tokens[:1], p.values, p.layers, p.thresholds, p.raw_norms, p.pooled, p.steered, p.bos
        )
