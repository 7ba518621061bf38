"""Actions, and what names them: from a player's words to the one action that they mean.

Reading is tolerant of form and strict about ambiguity. Only the first line that is not empty is
read (a model that goes on tells its own story). It may be an action's text, id or number in the
list, with or without quotes, capitals, a closing full stop and an opening such as "I will" or
"Action:"; a beginning that fits one action only; or ``say "…"`` with words of one's own where
speaking is allowed. A line that names two actions, or a number and another action's text, names
none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_MESSAGE = 200
"""Characters of a spoken message that are kept; it is also put on one line."""


@dataclass(frozen=True)
class Action:
    """Something a player can do.

    ``id`` is stable over seeds and is what analyses group by; ``text`` is the English phrase
    that the player reads and answers with; ``message`` is what is spoken, where it speaks.
    """

    id: str
    text: str
    message: str = ""


WAIT = Action("wait", "wait")


def say(message: str, action_id: str = "say") -> Action:
    """An action that speaks. The message is put on one line, so that it cannot forge history."""
    spoken = " ".join(message.replace('"', "'").split())[:MAX_MESSAGE].strip()
    return Action(action_id, f'say "{spoken}"', spoken)


MIN_PREFIX = 3
OPENING = re.compile(
    r"^(?:(?:(?:my|your) )?(?:next )?(?:action|answer|choice|move)(?: is(?: to)?)?\b ?:? ?"
    r"|i(?: will|'ll| would| choose| want| decide| am going| pick)\b(?: to\b)? ?"
    r"|let me |let us |let's )+"
)
NUMBER = re.compile(r"^(?:number |option )?\(?(\d{1,3})\b[.):]*\s*(.*)$")
SPOKEN = re.compile(r"\bsays?\b(?: to [\w ]{1,20}:)?[\s:,]*(.+)$", re.IGNORECASE)


def parse_action(text: str, legal_actions: Sequence[Action]) -> Action | None:
    """The one action that the text names, or None where it names none or more than one."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    reply = _plain(line)
    numbered = NUMBER.match(reply)
    if numbered is not None:
        return _by_number(int(numbered[1]), numbered[2], legal_actions)
    return _by_words(reply, legal_actions) or _own_words(line, reply, legal_actions)


def _plain(text: str) -> str:
    """Lower case, straight apostrophes, one space, none of the marks that decorate a reply."""
    text = text.casefold().replace("’", "'")
    text = " ".join(re.sub(r'["“”`*_>#\[\]]', " ", text.replace("_", "\0")).split())
    text = text.replace("\0", "_").strip(" _-'")
    return OPENING.sub("", text).rstrip(" .!,;:'").strip()


def _by_number(number: int, rest: str, legal: Sequence[Action]) -> Action | None:
    if not 1 <= number <= len(legal):
        return None
    chosen = legal[number - 1]
    return chosen if not rest or _by_words(rest, legal) == chosen else None


def _by_words(reply: str, legal: Sequence[Action]) -> Action | None:
    exact = [a for a in legal if reply in (a.id.casefold(), _plain(a.text))]
    if exact:
        return exact[0] if len(exact) == 1 else None
    begun = [a for a in legal if len(reply) >= MIN_PREFIX and _plain(a.text).startswith(reply)]
    if begun:
        return begun[0] if len(begun) == 1 else None
    named = [a for a in legal if _mentions(reply, _plain(a.text))]
    if len(named) == 1 and re.match(re.escape(_plain(named[0].text)) + r"\b", reply):
        return named[0]
    return None


def _mentions(reply: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(text)}\b", reply) is not None


def _own_words(line: str, reply: str, legal: Sequence[Action]) -> Action | None:
    if not reply.startswith("say") or not any(action.message for action in legal):
        return None
    spoken = SPOKEN.search(line)
    message = spoken[1].strip(" \"“”*`'") if spoken else ""
    unspoken = not re.search(r"\w", message) or _plain(message) == "nothing"
    return None if unspoken else say(message)
