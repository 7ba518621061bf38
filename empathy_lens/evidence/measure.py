"""What a card is made of (StudyData, Behaviour, Draws), and measurements that its parts share.

A part that the data cannot support raises DegenerateDataError; :class:`Attempts` turns that into
None and a recorded reason, so that no number on the card looks finer than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, ParamSpec, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from pydantic import JsonValue

from .. import stats
from ..directions import Estimator, fit_direction
from ..errors import DegenerateDataError, InputError, NonFiniteError
from ..types import Activations, Direction, Estimate, Pooling, RubricCompletion
from .baselines import Baseline, Pairs
from .validation import LayerSelection, scores, select_layer

MIN_SITUATIONS = 6
"""Fewer independent situations give no figure: a bootstrap of five has 126 outcomes in all, and
its interval would look far surer than five situations are."""

CHANCE = 0.5
ItemScores = Float[np.ndarray, "item"]
WordScores = Mapping[str, ItemScores]
"""Scores of the same items by each word baseline."""
Figures = Mapping[str, Estimate | None]
"""Figures by name, None where the data cannot support one."""

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Draws:
    """How often to draw, and from which seed: everything random on a card follows from it."""

    seed: int = 0
    n_resamples: int = 10_000
    n_permutations: int = 1000
    n_random: int = 1000

    def design(self, items: Activations) -> stats.Design:
        """Situations resampled within scenarios, as far as those allow.

        Raises DegenerateDataError for too few situations.
        """
        n_situations = len(set(items.groups))
        if n_situations < MIN_SITUATIONS:
            raise DegenerateDataError(
                f"expected at least {MIN_SITUATIONS} situations to resample, got {n_situations}"
            )
        return stats.Design.within(
            items.groups, items.strata, seed=self.seed, n_resamples=self.n_resamples
        )


DRAWS = Draws()
"""The draws of a published card."""


@dataclass(frozen=True)
class Paired:
    """Differences within pairs: share above 0 (ties half), their mean in units of its standard
    deviation, and the two-sided p of flipping their signs."""

    accuracy: Estimate | None = None
    d_z: Estimate | None = None
    sign_flip_p: float | None = None


@dataclass(frozen=True)
class Attempts:
    """Measures parts of a card; where the data cannot support one, gives None and notes why.

    The methods also give None where the scores they need are None, whose reason is noted already.
    ``of`` names the direction whose parts these are, where there are several.
    """

    draws: Draws = DRAWS
    reasons: dict[str, str] = field(default_factory=dict)
    of: str = ""

    def about(self, of: str) -> Attempts:
        """The same for another direction, noting reasons in the same place under its name."""
        return replace(self, of=of)

    def __call__(
        self, part: str, compute: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """The part's value, or None with the reason noted where the data cannot support it."""
        try:
            return compute(*args, **kwargs)
        except DegenerateDataError as error:
            self.note(part, str(error))
            return None

    def note(self, part: str, reason: str) -> None:
        """Notes why a part is not there."""
        self.reasons[f"{self.of}: {part}" if self.of else part] = reason

    def auroc(self, part: str, values: ItemScores | None, items: Activations) -> Estimate | None:
        """:func:`group_auroc` of the scores."""
        return None if values is None else self(part, group_auroc, values, items, self.draws)

    def gain(
        self, part: str, values: ItemScores | None, others: ItemScores | None, items: Activations
    ) -> Estimate | None:
        """AUROC of ``values`` minus that of ``others`` on the same items and resamples."""
        if values is None or others is None:
            return None
        return self(part, _auroc_gain, values, others, items, self.draws)

    def aurocs(self, part: str, words: WordScores, items: Activations) -> Figures:
        """AUROC of each word baseline."""
        return {name: self.auroc(f"{part}: {name}", one, items) for name, one in words.items()}

    def gains(
        self, part: str, values: ItemScores | None, words: WordScores, items: Activations
    ) -> Figures:
        """:meth:`gain` over each word baseline; empty without scores."""
        if values is None:
            return {}
        return {
            name: self.gain(f"{part}: {name}", values, one, items) for name, one in words.items()
        }

    def paired(self, part: str, values: ItemScores | None, items: Activations) -> Paired:
        """What the differences within pairs say; empty without scores."""
        if values is None:
            return Paired()
        found = self(f"{part}: pairs", _paired, values, items, self.draws)
        return Paired() if found is None else found

    def given_words(
        self,
        part: str,
        values: ItemScores | None,
        words: WordScores,
        rivals: Sequence[str],
        items: Activations,
    ) -> Estimate | None:
        """The coefficient of the scores in a conditional logit on differences within pairs, beside
        those of some readers of words; in log-odds per standard deviation."""
        if values is None:
            return None
        columns = [values, *(words[name] for name in rivals if name in words)]
        return self(f"{part}: given words", _given_words, columns, items, self.draws)

    def words(
        self,
        part: str,
        readers: Mapping[str, Baseline],
        train_pairs: Pairs,
        pairs: Pairs,
        items: Activations,
    ) -> WordScores:
        """Scores of each word baseline in the order of the items; those that fail are left out."""
        by_reader = {
            name: self(f"{part}: {name}", reader, train_pairs, pairs)
            for name, reader in readers.items()
        }
        return {
            name: in_item_order(scored, pairs, items, part)
            for name, scored in by_reader.items()
            if scored is not None
        }


@dataclass(frozen=True)
class StudyData:
    """Activations and texts that evidence is made of; only train and test are needed.

    ``hard``: pairs where words and deeds part. ``contrasts``: activations of other concepts' pairs
    by name ("sentiment", "task_focus", …). ``masked``: activations of the test pairs after
    :func:`~empathy_lens.evidence.baselines.ablate_words`, and the number of words masked.
    ``rubric``: activations of scored completions. ``other_poolings``: the same texts under further
    poolings, for the choice among them; what one lacks is not measured of a direction in it.

    Raises InputError for activations and pairs of different texts, NonFiniteError for a NaN or
    infinity among the activations.
    """

    train: Activations
    test: Activations
    train_pairs: Pairs
    test_pairs: Pairs
    hard: tuple[Activations, Pairs] | None = None
    contrasts: Mapping[str, Activations] = field(default_factory=dict)
    masked: tuple[Activations, int] | None = None
    rubric: tuple[Activations, Sequence[RubricCompletion]] | None = None
    other_poolings: Sequence[StudyData] = ()

    def __post_init__(self) -> None:
        for name, items in {"train": self.train, "test": self.test, **self.others}.items():
            check_finite(items, name)
        in_item_order(np.zeros(2 * len(self.train_pairs)), self.train_pairs, self.train, "train")

    @property
    def others(self) -> dict[str, Activations]:
        """Everything but train and test, by the name that messages use."""
        named = {f"contrasts[{name!r}]": items for name, items in self.contrasts.items()}
        named |= {} if self.hard is None else {"hard": self.hard[0]}
        named |= {} if self.masked is None else {"masked": self.masked[0]}
        named |= {} if self.rubric is None else {"rubric": self.rubric[0]}
        for other in self.other_poolings:
            pooling = other.train.pooling
            named |= {f"{pooling} train": other.train, f"{pooling} test": other.test}
            named |= {f"{pooling} {name}": items for name, items in other.others.items()}
        return named

    @property
    def poolings(self) -> tuple[StudyData, ...]:
        """The texts under each pooling, this one first."""
        return (self, *self.other_poolings)

    def under(self, pooling: Pooling) -> StudyData:
        """The texts under a pooling that :attr:`poolings` has."""
        return next(data for data in self.poolings if data.train.pooling == pooling)


@dataclass(frozen=True)
class Behaviour:
    """What was measured elsewhere of behaviour.

    ``steering`` is the content of ``steering_examples.json``; ``own_acts`` the partial rank
    correlation of projections before an act with the act, in the model's own play.
    """

    steering: dict[str, JsonValue] | None = None
    own_acts: Estimate | None = None


NO_BEHAVIOUR = Behaviour()


def check_finite(activations: Activations, name: str) -> None:
    """Raises NonFiniteError that names the first NaN or infinity, InputError for no items."""
    if not len(activations.labels):
        raise InputError(f"{name}: expected activations of at least one pair, got none")
    bad = ~torch.isfinite(activations.values)
    if bad.any():
        item, row, channel = bad.nonzero()[0].tolist()
        raise NonFiniteError(
            f"{name}: the activation of pair {activations.pair_ids[item]!r} at layer "
            f"{activations.layers[row]}, channel {channel} is "
            f"{activations.values[item, row, channel].item()}; extract again with "
            "--dtype bfloat16 or float32"
        )


def in_item_order(
    pair_scores: Float[np.ndarray, "text"], pairs: Pairs, activations: Activations, name: str
) -> ItemScores:
    """Scores of texts (positive before negative, pair by pair) in the activations' order.

    Raises InputError where activations and pairs are not of the same texts.
    """
    keys = [(p.pair_id, positive) for p in pairs for positive in (True, False)]
    place = {key: index for index, key in enumerate(keys)}
    wanted = list(zip(activations.pair_ids, activations.labels.tolist(), strict=True))
    odd = {p.pair_id for p in pairs} ^ set(activations.pair_ids)
    repeated = len(place) < len(keys) or len(set(wanted)) < len(wanted)
    if odd or repeated:
        what = "repeated pair_ids" if repeated else f"differing pair_ids: {sorted(odd)[:5]}"
        raise InputError(
            f"{name}: expected activations of exactly these {len(pairs)} pairs, got {what}"
        )
    return pair_scores[[place[key] for key in wanted]]


def fit(activations: Activations, layer: int, estimator: str | Estimator) -> Direction:
    """``fit_direction``, raising DegenerateDataError where the classes are absent or coincide."""
    labels = activations.labels
    if labels.all() or not labels.any():
        raise DegenerateDataError(
            f"a direction needs both classes, got {int(labels.sum())} positive and "
            f"{int((~labels).sum())} negative texts"
        )
    values = activations.at(layer)
    if torch.equal(values[labels].mean(dim=0), values[~labels].mean(dim=0)):
        raise DegenerateDataError(f"at layer {layer} both classes have the same mean activation")
    return fit_direction(activations, layer, estimator)


def choose_layer(
    train: Activations, estimator: str | Estimator = "mean_difference", *, seed: int
) -> LayerSelection:
    """``select_layer``, raising DegenerateDataError where a layer cannot part the classes."""
    for layer in train.layers:
        fit(train, layer, "mean_difference")
    try:
        return select_layer(train, estimator, seed=seed)
    except InputError as error:  # the classes coincide in one fold
        raise DegenerateDataError(f"cross-validation failed: {error}") from error


def probe_scores(direction: Direction, activations: Activations) -> ItemScores:
    """Scores along the direction; DegenerateDataError where all texts have equal activations.

    Equal rows are caught before projecting: rounding would break their tie at random.
    """
    values = activations.at(direction.site.layer)
    if torch.equal(values, values[:1].expand_as(values)):
        raise DegenerateDataError("all texts have the same activations")
    return scores(direction, activations)


def group_auroc(values: ItemScores, items: Activations, draws: Draws) -> Estimate:
    """AUROC over the items, resampled by situation within scenarios as far as those allow.

    Its p inverts the same interval at 0.5. Raises DegenerateDataError for one class, constant
    scores or too few situations.
    """
    labels, design = items.labels.numpy(), draws.design(items)
    return cast(Estimate, stats.auroc_estimate(values, labels, design, null=CHANCE))


def differences(values: ItemScores, items: Activations) -> Float[np.ndarray, "situation"]:
    """How much higher the positive side of a pair scores, averaged over a situation's pairs."""
    return stats.pair_differences(
        values, items.labels.numpy(), list(items.pair_ids), list(items.groups)
    )


def _paired(values: ItemScores, items: Activations, draws: Draws) -> Paired:
    draws.design(items)  # raises for too few situations
    each, seed, n = differences(values, items), draws.seed, draws.n_resamples
    return Paired(
        stats.paired_accuracy(each, seed=seed, n_resamples=n),
        stats.cohen_dz(each, seed=seed, n_resamples=n),
        stats.sign_flip_p(each, n_permutations=n, seed=seed),
    )


def _given_words(columns: Sequence[ItemScores], items: Activations, draws: Draws) -> Estimate:
    draws.design(items)  # raises for too few situations
    if len(columns) < 2:
        raise DegenerateDataError("no reader of words could be fitted")
    each = [differences(values, items) for values in columns]
    (probe,) = stats.conditional_logit(np.stack(each, axis=1), columns=[0])
    return probe


def _auroc_gain(
    values: ItemScores, others: ItemScores, items: Activations, draws: Draws
) -> Estimate:
    return stats.auroc_difference(values, others, items.labels.numpy(), draws.design(items))


def swap_p(
    values: Float[np.ndarray, "*row item"],
    items: Activations,
    draws: Draws,
    *,
    alternative: Literal["greater", "two-sided"] = "greater",
) -> stats.PermutationResult:
    """Is each row's AUROC beyond chance when labels are swapped within pairs, by situation?

    ``p_max`` allows for having looked at all rows (maxT). Raises DegenerateDataError for one
    class or too few situations.
    """
    return stats.auroc_permutation(
        values,
        items.labels.numpy(),
        list(items.pair_ids),
        groups=draws.design(items).groups,
        n_permutations=draws.n_permutations,
        seed=draws.seed,
        alternative=alternative,
    )
