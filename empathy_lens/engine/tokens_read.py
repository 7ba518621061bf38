"""What a model reads of a text, token by token, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError
from ..models import model_card
from ..types import HookedModel
from .token_projections import shown_tokens
from .tokens import encode, encode_prompt, render_prompt

Part = Literal["special", "template", "prompt", "completion"]
MARK = "@@PROMPT@@"


@dataclass(frozen=True, repr=False)
class ShownTokens:
    """The tokens of one text as they are read, one a line where it is printed.

    ``parts`` says of each token where it comes from: ``special`` (what stands around a text that
    has no template, a BOS), ``template`` (what a chat template writes), ``prompt``,
    ``completion``; where a tokenizer of the slow kind cannot tell, template and prompt are both
    ``prompt``. ``pooled`` marks those that pooling reads. ``rule`` is how texts become tokens,
    as in ``Provenance.prompt_format``.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    parts: tuple[Part, ...]
    pooled: tuple[bool, ...]
    rule: str

    def __repr__(self) -> str:
        width = max(len("id"), *(len(str(i)) for i in self.ids))
        lines = [
            f"{len(self.ids)} tokens, {self.rule}; * is pooled",
            f"{'pos':>4}   {'id':>{width}}  {'part':<10}  token",
        ]
        rows = zip(self.ids, self.tokens, self.parts, self.pooled, strict=True)
        for pos, (token_id, token, part, pooled) in enumerate(rows):
            mark = "*" if pooled else " "
            lines.append(f"{pos:>4} {mark} {token_id:>{width}}  {part:<10}  {token!r}")
        return "\n".join(lines)


def show_tokens(model: HookedModel, prompt: str = "", text: str = "") -> ShownTokens:
    """What the model reads of a prompt, of a text, or of a text after a prompt.

    The same tokens are pooled, scored, played with and seen in token views; a prompt alone is what
    sampling goes on from, and nothing of it is pooled. Raises InputError where there is neither, or
    a chat template that fails.

    >>> print(el.show_tokens(model, "A man fell. What now?", "I help him."))
    """
    if not prompt and not text:
        raise InputError("expected a prompt, a text or both, got neither")
    if text:
        encoded = encode(model, text, prompt)
        ids, start, end = encoded.ids, encoded.start, encoded.end
    else:
        ids = encode_prompt(model, prompt)
        start = end = len(ids)
    parts = _context(model, prompt, ids[:start])
    parts += [("completion" if i < end else "special") for i in range(start, len(ids))]
    card = model_card(model)
    return ShownTokens(
        ids=ids,
        tokens=shown_tokens(model.tokenizer, ids),
        parts=tuple(parts),
        pooled=tuple(part == "completion" for part in parts),
        rule=f"{card.provenance.prompt_format} (bos rule: {card.rule.bos})",
    )


def _context(model: HookedModel, prompt: str, ids: Sequence[int]) -> list[Part]:
    """Where each token before the completion comes from."""
    card = model_card(model)
    if not prompt or not card.chat:
        begin = len(card.rule.before)
        written = ids[:1] == (card.bos_id,) and begin == 0
        n = begin + written if prompt else len(ids)
        return ["special" if i < n else "prompt" for i in range(len(ids))]
    rendered = render_prompt(model, prompt)
    before, _, after = render_prompt(model, MARK).partition(MARK)
    first, last = len(before), len(rendered) - len(after)
    if not (rendered.startswith(before) and rendered.endswith(after)):
        first, last = len(rendered), len(rendered)  # a template that rewrites what it is given
    try:
        spans = model.tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError:
        return ["prompt"] * len(ids)
    parts: list[Part] = [
        "prompt" if int(begin) < last and int(end) > first else "template"
        for begin, end in spans["offset_mapping"]
    ]
    added: list[Part] = ["special"] * (len(ids) - len(parts))
    return added + parts
