"""Reading pairs by hand: decisions beside the data, resumed, compared and applied.

Decisions are lines of ``NAME.reviews.jsonl`` beside ``NAME.jsonl``, appended one by one. A decision
holds for the text that was read: a pair that has changed since comes up again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict
from sklearn.metrics import cohen_kappa_score

from ..data import data_hash
from ..errors import InputError
from ..results import from_json
from ..types import ContrastivePair
from .dataset import Kappa

Verdict = Literal["accept", "reject", "edit"]
TEXTS = ("prompt", "positive", "negative")
BAD_FORM = (
    f"expected the headings {', '.join(f'=== {n} ===' for n in TEXTS)} in this order, and a text "
    "under the last two; the pair is as it was"
)


@dataclass(frozen=True)
class EditedTexts:
    """The three texts of a pair as a reviewer changed them."""

    prompt: str
    positive: str
    negative: str


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided of a pair as it read then (``text_hash``)."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    pair_id: str
    reviewer: str
    verdict: Verdict
    text_hash: str
    note: str = ""
    edited: EditedTexts | None = None


def reviews_path(pairs_file: Path) -> Path:
    """Where the decisions on a file of pairs are."""
    return pairs_file.with_suffix(".reviews.jsonl")


def load_decisions(path: Path) -> tuple[Decision, ...]:
    """Decisions in the order of the file, the latest of each reviewer on each pair alone.

    A half-written last line is passed over. Raises InputError for any other bad line, the last one
    included where it is whole and merely wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    latest: dict[tuple[str, str], Decision] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            decision = from_json(line, Decision, f"{path}:{number}")
        except InputError:
            if number == len(lines) and _is_torn(line):
                break
            raise
        latest[decision.pair_id, decision.reviewer] = decision
    return tuple(latest.values())


def save_decision(path: Path, decision: Decision) -> None:
    """Appends a decision; it is on the disk when this returns.

    A whole last line that lacks its end of line, an editor's doing, is kept; a torn one goes.
    """
    fields = {name: value for name, value in asdict(decision).items() if value}
    line = json.dumps(fields, ensure_ascii=False) + "\n"
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = path.read_bytes()
                start = data.rfind(b"\n") + 1
                if _is_torn(data[start:].decode(errors="replace")):
                    file.truncate(start)
                else:
                    file.write(b"\n")
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def undecided(
    pairs: Sequence[ContrastivePair], decisions: Sequence[Decision], reviewer: str
) -> tuple[ContrastivePair, ...]:
    """The pairs on which a reviewer has not decided as they read now."""
    done = {(d.pair_id, d.text_hash) for d in decisions if d.reviewer == reviewer}
    return tuple(p for p in pairs if (p.pair_id, text_hash(p)) not in done)


def apply_decisions(
    pairs: Sequence[ContrastivePair], decisions: Sequence[Decision]
) -> tuple[ContrastivePair, ...]:
    """Pairs without those that any reviewer rejected, with the latest edit of each.

    Decisions on a text that has changed since do not count.
    """
    kept = []
    for pair in pairs:
        current = [
            d for d in decisions if d.pair_id == pair.pair_id and d.text_hash == text_hash(pair)
        ]
        if any(d.verdict == "reject" for d in current):
            continue
        edits = [d.edited for d in current if d.verdict == "edit" and d.edited]
        kept.append(replace(pair, **asdict(edits[-1])) if edits else pair)
    return tuple(kept)


def kappas(decisions: Sequence[Decision]) -> tuple[Kappa, ...]:
    """Agreement of every two reviewers on the pairs, as they read then, that both decided on."""
    verdicts: dict[str, dict[tuple[str, str], str]] = {}
    for d in decisions:
        verdicts.setdefault(d.reviewer, {})[d.pair_id, d.text_hash] = d.verdict
    agreements = []
    for a, b in combinations(sorted(verdicts), 2):
        both = sorted(verdicts[a].keys() & verdicts[b].keys())
        if not both:
            continue
        ours, theirs = ([verdicts[r][key] for key in both] for r in (a, b))
        same = sum(x == y for x, y in zip(ours, theirs, strict=True))
        defined = len({*ours, *theirs}) > 1
        value = float(cohen_kappa_score(ours, theirs)) if defined else None
        agreements.append(Kappa((a, b), len(both), same, value))
    return tuple(agreements)


def text_hash(pair: ContrastivePair) -> str:
    """What a decision holds for: the three texts, whatever else is noted of the pair."""
    bare = ContrastivePair("", pair.scenario_id, pair.positive, pair.negative, pair.prompt)
    return data_hash([bare])[:16]


def edit_form(pair: ContrastivePair) -> str:
    """The three texts under their headings, to be changed in an editor."""
    return "".join(f"=== {name} ===\n{getattr(pair, name)}\n" for name in TEXTS)


def read_edit_form(form: str) -> EditedTexts:
    """The three texts of an edited form. Raises InputError where a heading or a text is gone."""
    texts: dict[str, list[str]] = {}
    for line in form.splitlines():
        name = line.strip().strip("=").strip()
        if line.startswith("===") and name in TEXTS and name not in texts:
            texts[name] = []
        elif texts:
            next(reversed(texts.values())).append(line)
    if list(texts) != list(TEXTS):
        raise InputError(BAD_FORM)
    edited = EditedTexts(*("\n".join(lines).strip() for lines in texts.values()))
    if not (edited.positive and edited.negative):
        raise InputError(BAD_FORM)
    if edited.positive == edited.negative:
        raise InputError("both sides are the same text; the pair is as it was")
    return edited


def _is_torn(line: str) -> bool:
    """Whether a line ends before its value does, as a killed write leaves it."""
    try:
        json.JSONDecoder().raw_decode(line.lstrip())
    except json.JSONDecodeError:
        return True
    except (ValueError, RecursionError):  # whole, and more than can be read
        return False
    return False
