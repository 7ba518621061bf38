"""A run's folder read back: each saved file as its own type, as far as the run has got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from ..data import EMPATHY
from ..engine.token_projections import TokenExample, TokenViews
from ..errors import InputError
from ..evidence import Evidence
from ..evidence.contrasts import Cosines
from ..evidence.rubric import EiaCorrelation
from ..evidence.validation import ValidationResult
from ..games.behaviour import OnPolicy
from ..games.steered_play import SteeredPlay
from ..results import RunConfig, RunIdentity, RunSummary, read_stored
from ..steering.examples import SteeringResults
from ..types import Concept
from .text import shortened

T = TypeVar("T")


@dataclass(frozen=True)
class RunResults:
    """What a run's folder holds: ``{name}.json`` for each field, None where it is not there (yet).

    ``written_by`` names the run that wrote each of these files, None where a file does not say;
    ``problems`` says what is wrong with the files that cannot be read. ``concept`` is what the run
    is about; runs older than the entry in ``config.json`` are about empathy.
    """

    config: RunConfig | None = None
    validation_auroc: ValidationResult | None = None
    eia_correlation: EiaCorrelation | None = None
    steering_examples: SteeringResults | None = None
    steering_sweep: SteeringResults | None = None
    evidence: Evidence | None = None
    cosines: Cosines | None = None
    on_policy: OnPolicy | None = None
    steered_play: SteeredPlay | None = None
    summary: RunSummary | None = None
    token_views: TokenViews | None = None
    written_by: Mapping[str, RunIdentity | None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def concept(self) -> Concept:
        return (self.config and self.config.concept) or EMPATHY

    @property
    def identity(self) -> RunIdentity | None:
        """The run that the folder shows: that of its first file in the order of the fields."""
        return next(iter(self.written_by.values()), None)

    @property
    def from_elsewhere(self) -> tuple[str, ...]:
        """The files that another run wrote than the first one, each with what it says of that."""
        ours = self.identity and self.identity.id
        return tuple(
            f"{name}.json is from {f'run {run}' if run else 'a run that it does not name'}"
            for name, run in self.written_by.items()
            if (run and run.id) != ours
        )

    @property
    def selected_layer(self) -> int | None:
        return None if self.validation_auroc is None else self.validation_auroc.selected_layer


KINDS = {
    name: get_args(hint)[0]
    for name, hint in get_type_hints(RunResults).items()
    if name not in ("written_by", "problems")
}
PARTS = tuple(KINDS)
"""The files of a run's folder that are drawn, without ``.json``."""


def read_run(folder: Path) -> RunResults:
    """A run's folder, as far as the run has got and its files can be read.

    Raises InputError where the folder holds no part of a run at all.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a run's folder, there is none")
    parts: dict[str, Any] = {}
    written_by: dict[str, RunIdentity | None] = {}
    problems: list[str] = []
    for name, kind in KINDS.items():
        path = folder / f"{name}.json"
        if path.exists():
            try:
                parts[name], stamp = read_stored(path, kind)
                written_by[name] = stamp.run
            except InputError as error:
                problems.append(str(error))
    if not parts and not problems:
        raise InputError(
            f"{folder}: not a run's folder (none of {', '.join(PARTS)}.json is there); "
            "expected the folder that a study wrote (its --out)"
        )
    return RunResults(**parts, written_by=written_by, problems=tuple(problems))


def cut(value: T, items: int, characters: int) -> T:
    """The value with long lists and long texts shortened, all the way down.

    What must stay together does: a text keeps its first ``items`` tokens at every layer.
    """
    shorter: object = value
    if isinstance(value, str):
        shorter = shortened(value, characters)
    elif isinstance(value, Mapping):
        kept: dict[object, object] = {}
        for name, one in list(value.items())[: max(items, 100)]:
            key = shortened(name, characters) if isinstance(name, str) else name
            while key in kept:  # Two long names may be cut to one.
                key += "′"
            kept[key] = cut(one, items, characters)
        shorter = kept
    elif isinstance(value, tuple):
        shorter = tuple(cut(one, items, characters) for one in value[:items])
    elif isinstance(value, TokenViews):
        examples = tuple(cut(one, items, characters) for one in value.examples[:items])
        shorter = replace(value, examples=examples)
    elif isinstance(value, TokenExample):
        shorter = replace(
            value,
            tokens=tuple(shortened(token, characters) for token in value.tokens[:items]),
            values=tuple(row[:items] for row in value.values),
            pooled=value.pooled[:items],
            bos=value.bos[:items],
            steered=value.steered and value.steered[:items],
        )
    elif is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value)]
        shorter = replace(
            value, **{name: cut(getattr(value, name), items, characters) for name in names}
        )
    return cast(T, shorter)
