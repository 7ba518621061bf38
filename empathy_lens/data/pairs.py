"""Contrastive pairs: from files, from plain lists, to files, split without parting situations.

The file is JSONL with ``scenario_id``, ``positive_text`` and ``negative_text``; everything else is
optional and unknown fields are kept. ``empathic_text`` and ``non_empathic_text``, the names of the
published data, are read as well and stand for the concept of empathy.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Literal, overload

import numpy as np

from ..errors import InputError
from ..files import input_hash, write_text
from ..types import Concept, ContrastivePair, RubricCompletion, UnpairedTexts
from .overlap import normalised
from .reading import Record, load_jsonl, scenario_id_of, text_of

SIDES = (("positive_text", "negative_text"), ("empathic_text", "non_empathic_text"))
EMPATHY = Concept("empathy", "empathic", "task-focused")
"""The concept of files whose fields say so: ``empathic_text`` and ``non_empathic_text``."""


def load_pairs(
    path: str | Path, *, scenario_ids: Iterable[str] | None = None
) -> tuple[ContrastivePair, ...]:
    """Contrastive pairs from a JSONL file.

    ``scenario_ids``, where given, are the only ids allowed. A line without ``pair_id`` gets
    one made from its content. Raises InputError that lists every bad line with its field.
    """
    known = None if scenario_ids is None else tuple(scenario_ids)
    return load_jsonl(Path(path), lambda record: _pair(record, known), lambda p: p.pair_id)


@overload
def pairs_from(
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    concept: str = ...,
    poles: tuple[str, str] | None = ...,
    prompts: Sequence[str] | None = ...,
    paired: Literal[True] = ...,
) -> tuple[ContrastivePair, ...]: ...
@overload
def pairs_from(
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    concept: str = ...,
    poles: tuple[str, str] | None = ...,
    prompts: None = ...,
    paired: Literal[False],
) -> UnpairedTexts: ...
def pairs_from(
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    concept: str = "concept",
    poles: tuple[str, str] | None = None,
    prompts: Sequence[str] | None = None,
    paired: bool = True,
) -> tuple[ContrastivePair, ...] | UnpairedTexts:
    """Contrastive pairs from plain lists, text i of one with text i of the other.

    Each pair is a situation of its own, of one scenario that is called as the concept; ids are made
    from the texts. ``poles`` names the two ends, positive first (default: the concept and "not" the
    concept); ``prompts``, one a pair, are context that is read and not pooled. With
    ``paired=False`` the lists may differ in length, and what needs pairs (sign flips,
    ``pca_differences``, the evidence card) refuses the texts.

    >>> pairs_from(["I told her."], ["I hid it."], concept="honesty")[0].concept.negative
    'not honesty'

    Raises InputError for empty lists or texts, lists of unequal length, a pair whose two texts are
    the same, or the same pair twice.
    """
    named = Concept(concept, *(poles or (concept, f"not {concept}")))
    for pole, texts in ((named.positive, positive), (named.negative, negative)):
        if isinstance(texts, str) or not texts:
            raise InputError(f"expected a list of {pole} texts, got {texts!r}")
        for i, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"{pole} text {i}: expected text, got {text!r}")
    if not paired:
        if prompts is not None:
            raise InputError("prompts go with pairs: leave them out with paired=False")
        return UnpairedTexts(tuple(positive), tuple(negative), named)
    given = [""] * len(positive) if prompts is None else list(prompts)
    if not len(positive) == len(negative) == len(given):
        raise InputError(
            f"expected lists of one length, got {len(positive)} {named.positive} and "
            f"{len(negative)} {named.negative} texts"
            + ("" if prompts is None else f" and {len(given)} prompts")
            + "; lists that are not paired go with paired=False"
        )
    first: dict[str, int] = {}
    pairs = []
    for i, (a, b, prompt) in enumerate(zip(positive, negative, given, strict=True)):
        if a.strip() == b.strip():
            raise InputError(f"pair {i}: both texts are {a!r}")
        pair_id = _made_id(concept, prompt, a, b)
        if first.setdefault(pair_id, i) != i:
            raise InputError(f"pair {i} is the same as pair {first[pair_id]}: {a!r}")
        pairs.append(ContrastivePair(pair_id, concept, a, b, prompt, concept=named))
    return tuple(pairs)


def save_pairs(
    path: str | Path,
    pairs: Sequence[ContrastivePair],
    *,
    sides: tuple[str, str] = SIDES[0],
) -> None:
    """Writes pairs as JSONL, atomically; ``load_pairs`` gives back equal pairs.

    ``sides`` names the two text fields; ``("empathic_text", "non_empathic_text")`` is the shape of
    the published data, which stands for the concept of empathy.
    """
    if sides not in SIDES:
        raise InputError(f"expected sides in {SIDES}, got {sides!r}")
    lines = (json.dumps(_record(p, sides), ensure_ascii=False) + "\n" for p in pairs)
    write_text(Path(path), "".join(lines))


def data_hash(
    items: Sequence[ContrastivePair] | Sequence[RubricCompletion] | UnpairedTexts,
) -> str:
    """SHA-256 over the content of the items in order; equal content gives equal hashes."""
    if isinstance(items, UnpairedTexts):
        return input_hash([items.positive, items.negative])
    digest = hashlib.sha256()
    for item in items:
        # Pairs by the names of the published data, whatever those of their own file.
        record = (
            _record(item, SIDES[1])
            if isinstance(item, ContrastivePair)
            else {k: v for k, v in asdict(item).items() if v != ""}
        )
        digest.update(json.dumps(record, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def split_pairs(
    pairs: Sequence[ContrastivePair], *, n_test: int, seed: int
) -> tuple[tuple[ContrastivePair, ...], tuple[ContrastivePair, ...]]:
    """Train and test, with no group (situation) on both sides, balanced over scenarios.

    Each scenario gives test pairs in proportion to its size. Where groups hold several
    pairs, the test side may exceed ``n_test`` by less than one group a scenario. The result
    depends on the seed and the set of pairs, not on their order. Raises InputError where
    the situations are too few to leave any for training.
    """
    if not 0 < n_test < len(pairs):
        raise InputError(f"n_test must lie in 1..{len(pairs) - 1}, got {n_test}")
    ordered = sorted(pairs, key=lambda p: p.pair_id)
    by_scenario: defaultdict[str, defaultdict[str, list[ContrastivePair]]]
    by_scenario = defaultdict(lambda: defaultdict(list))
    for pair in ordered:
        by_scenario[pair.scenario_id][pair.group].append(pair)
    sizes = {s: sum(map(len, groups.values())) for s, groups in sorted(by_scenario.items())}
    quotas = _proportional_quotas(sizes, n_test)
    rng = np.random.default_rng(seed)
    test_groups: set[str] = set()
    for scenario_id, quota in quotas.items():
        groups = sorted(by_scenario[scenario_id])
        taken = 0
        for index in rng.permutation(len(groups)):
            if taken >= quota:
                break
            test_groups.add(groups[index])
            taken += len(by_scenario[scenario_id][groups[index]])
    n_groups = sum(map(len, by_scenario.values()))
    if len(test_groups) == n_groups:
        raise InputError(
            f"n_test={n_test} would take all {n_groups} situations and leave no pair to train on; "
            "lower it, or give the pairs more distinct situations"
        )
    return (
        tuple(p for p in ordered if p.group not in test_groups),
        tuple(p for p in ordered if p.group in test_groups),
    )


def count_by(items: Iterable[object], name: str) -> dict[str, int]:
    """How many items there are of each value of an attribute, in sorted order."""
    return dict(sorted(Counter(str(getattr(item, name)) for item in items).items()))


def _pair(record: Record, known: tuple[str, ...] | None) -> ContrastivePair:
    positive_name, negative_name = next((s for s in SIDES if set(s) & set(record)), SIDES[0])
    concept = _concept(record, EMPATHY if positive_name == "empathic_text" else Concept())
    positive, negative = text_of(record, positive_name), text_of(record, negative_name)
    if normalised(positive) == normalised(negative):
        raise InputError(f"{positive_name} and {negative_name} are the same text")
    tags = record.get("tags") or []
    if not (isinstance(tags, list) and all(isinstance(t, str) for t in tags)):
        raise InputError(f"tags: expected a list of texts, got {tags!r}")
    scenario_id = scenario_id_of(record, known)
    prompt = text_of(record, "prompt", required=False)
    named = ("situation", "format", "split", "source_model")
    taken = {*named, "pair_id", "scenario_id", "prompt", "tags", "concept", "poles"}
    taken |= {positive_name, negative_name}
    return ContrastivePair(
        pair_id=text_of(record, "pair_id", required=False)
        or _made_id(scenario_id, prompt, positive, negative),
        scenario_id=scenario_id,
        prompt=prompt,
        positive=positive,
        negative=negative,
        tags=tuple(tags),
        concept=concept,
        extra=MappingProxyType({k: v for k, v in record.items() if k not in taken}),
        **{name: text_of(record, name, required=False) for name in named},
    )


def _made_id(scenario_id: str, prompt: str, positive: str, negative: str) -> str:
    """An id that follows a pair's content, whatever its file or place."""
    content = "\x00".join((scenario_id, prompt, positive, negative)).encode()
    return f"{scenario_id}-{hashlib.sha256(content).hexdigest()[:10]}"


def _concept(record: Record, default: Concept) -> Concept:
    """The optional fields ``concept`` (its name) and ``poles`` (their names, positive first)."""
    name = text_of(record, "concept", required=False)
    poles = record.get("poles") or [default.positive, default.negative]
    if not (isinstance(poles, list) and len(poles) == 2 and all(isinstance(p, str) for p in poles)):
        raise InputError(f"poles: expected two texts, positive first, got {poles!r}")
    return Concept(name or default.name, *poles)


def _record(item: ContrastivePair, sides: tuple[str, str]) -> dict[str, object]:
    """The pair as a line of its file, empty optional fields left out."""
    record: dict[str, object] = {
        "pair_id": item.pair_id,
        "scenario_id": item.scenario_id,
        "situation": item.situation,
        "format": item.format,
        "prompt": item.prompt,
        sides[0]: item.positive,
        sides[1]: item.negative,
        "tags": list(item.tags),
        "split": item.split,
        "source_model": item.source_model,
    }
    unknown = {k: v for k, v in item.extra.items() if k not in record}
    if sides == SIDES[0] and item.concept != Concept():
        c = item.concept
        record |= {"concept": c.name, "poles": [c.positive, c.negative]}
    return {k: v for k, v in record.items() if v not in ("", [])} | unknown


def _proportional_quotas(sizes: dict[str, int], total: int) -> dict[str, int]:
    """Largest-remainder shares of ``total`` in proportion to ``sizes``."""
    exact = {name: total * size / sum(sizes.values()) for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda name: quotas[name] - exact[name])
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas
