"""What the makers of a tokenizer put around a text, and what may be asked for instead.

TransformerLens puts a BOS before every text, whatever the tokenizer's makers do; some of them
(Qwen) never use one. Here the makers' way is the rule and TransformerLens's habit an option.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from ..errors import InputError, ModelError
from ..types import Tokenizer

BosRule = Literal["tokenizer", "always"]
PROBE = "a"
CLOCK = "strftime_now"
"""What a chat template calls to write today's date."""
DIRECTIVES = "aAbBcdHIjmMpSUwWxXyYZ"
"""Letters that ``strftime`` knows after a percent sign."""


@dataclass(frozen=True)
class TokenRule:
    """How a model's texts and prompts become tokens.

    ``bos`` is ``tokenizer`` (special tokens where the tokenizer's makers put them) or ``always``
    (BOS first wherever the tokenizer has one, as TransformerLens does). ``before`` and ``after``
    are the ids of special tokens around a text that stands alone. ``template`` is the chat
    template that prompts are rendered with, None where there is none or the tokenizer's own is
    used as it stands; ``date`` is the day that it writes, as in 2026-07-26, empty where it writes
    none.
    """

    bos: BosRule = "tokenizer"
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    chat: bool = False
    date: str = ""
    template: str | None = None

    def prompt_format(self, bos_id: int | None) -> str:
        """The rule as provenance keeps it: ``plain, one bos``; ``chat, no bos, dated 2026-07-26``.

        The bos is that of a text that stands alone; a chat template may write another.
        """
        begins = bos_id is not None and self.before[:1] == (bos_id,)
        parts = ["chat" if self.chat else "plain", "one bos" if begins else "no bos"]
        return ", ".join([*parts, f"dated {self.date}"] if self.date else parts)


def token_rule(
    tokenizer: Tokenizer, bos: BosRule = "tokenizer", date: str | None = None
) -> TokenRule:
    """The rule of a tokenizer as its makers have it, with what is asked for instead.

    ``date`` (as in 2026-07-26) is what a chat template that writes today's date writes in its
    place; without it the moment of this call, which stays as it is past midnight. Raises
    InputError for an unknown rule or a date that is none.
    """
    if bos not in get_args(BosRule):
        raise InputError(f"bos: expected {' or '.join(get_args(BosRule))}, got {bos!r}")
    try:
        moment = datetime.now() if date is None else datetime.strptime(date, "%Y-%m-%d")
    except ValueError:
        raise InputError(f"date: expected a day as in 2026-07-26, got {date!r}") from None
    before, after = _around(tokenizer)
    bos_id = tokenizer.bos_token_id
    if bos == "always" and bos_id is not None and before[:1] != (bos_id,):
        before = (bos_id, *before)
    chat = bool(tokenizer.chat_template)
    own = tokenizer.chat_template
    template = own.get("default") if isinstance(own, dict) else own
    if not template or CLOCK not in template or not _writes_date(tokenizer, template):
        return TokenRule(bos, before, after, chat)
    dated = _at(template, moment)
    return TokenRule(bos, before, after, chat, moment.strftime("%Y-%m-%d"), dated)


def render_chat(tokenizer: Tokenizer, prompt: str, template: str | None = None) -> str:
    """The user's turn and the opening of the model's, as the chat template writes them.

    Raises InputError, naming the tokenizer, for whatever goes wrong in the template.
    """
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
                chat_template=template,
            )
        )
    # A template is a program that came with a file: it can fail in any way.
    except Exception as error:
        name = getattr(tokenizer, "name_or_path", "") or "this tokenizer"
        raise InputError(
            f"the chat template of {name} (chat_template.jinja or tokenizer_config.json) cannot be "
            f"used: {type(error).__name__}: {str(error).strip() or 'no reason given'}; expected "
            "one that renders a user's turn: get the tokenizer's files anew, or take the template "
            "out to have prompts read plainly"
        ) from None


@contextmanager
def kept_as_made(tokenizer: Tokenizer) -> Iterator[None]:
    """Inside, TransformerLens may wire the tokenizer; afterwards it is its makers' again.

    TransformerLens would read it a second time with a BOS before every text, and calls the end
    token BOS where there is none, which a chat template would then write.
    """
    unset = object()
    said = tokenizer.init_kwargs.get("add_bos_token", unset)
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    tokenizer.init_kwargs["add_bos_token"] = True
    try:
        yield
    finally:
        if said is unset:
            del tokenizer.init_kwargs["add_bos_token"]
        else:
            tokenizer.init_kwargs["add_bos_token"] = said
        tokenizer.bos_token, tokenizer.eos_token = bos, eos


def _around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the special tokens that a tokenizer puts before and after a text."""
    whole = tuple(tokenizer(PROBE).input_ids)
    bare = tuple(tokenizer(PROBE, add_special_tokens=False).input_ids)
    for start in range(len(whole) - len(bare) + 1):
        end = start + len(bare)
        if whole[start:end] == bare:
            return whole[:start], whole[end:]
    raise ModelError(
        f"the tokenizer's special tokens change the text between them: {PROBE!r} is {bare} without "
        f"and {whole} with them; expected them before or after it"
    )


def _writes_date(tokenizer: Tokenizer, template: str) -> bool:
    try:
        one, other = (
            render_chat(tokenizer, PROBE, _at(template, datetime(year, month, day)))
            for year, month, day in ((1999, 1, 1), (2048, 12, 28))
        )
    except InputError:
        return False  # told when a prompt is read; texts alone need no template
    return one != other


def _at(template: str, moment: datetime) -> str:
    """The template with its clock stopped: a macro of that name goes before the function."""
    directives = "".join(
        f"|replace('%{letter}','{moment.strftime('%' + letter)}')" for letter in DIRECTIVES
    )
    # With +, no line break at the template's start is trimmed.
    return f"{{% macro {CLOCK}(format) %}}{{{{ format{directives} }}}}{{% endmacro +%}}{template}"
