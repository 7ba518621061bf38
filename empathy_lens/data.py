"""Contrastive pairs, scenarios and rubric completions: reading, checking, splitting.

The pairs format is JSONL with ``scenario_id``, ``empathic_text`` and ``non_empathic_text``
(``positive_text`` and ``negative_text`` for concepts other than empathy); everything else is
optional and unknown fields are kept. All bad lines of a file are reported at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from .errors import InputError
from .files import read_json, write_text
from .types import ContrastivePair, PlainQuestion, RubricCompletion, Scenario, SteeringPrompt

__all__ = [
    "count_by",
    "data_hash",
    "load_neutral_texts",
    "load_pairs",
    "load_plain_questions",
    "load_rubric_completions",
    "load_scenarios",
    "load_steering_prompts",
    "save_pairs",
    "split_pairs",
]

SHOWN_FAULTS = 20
SIDES = (("empathic_text", "non_empathic_text"), ("positive_text", "negative_text"))

Record = dict[str, Any]
T = TypeVar("T", ContrastivePair, RubricCompletion, PlainQuestion, tuple[str, str])


def load_scenarios(path: str | Path) -> dict[str, Scenario]:
    """Scenarios by id, in file order. Raises InputError for a missing or malformed file."""
    path = Path(path)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: expected a JSON list of scenarios, got {type(entries).__name__}")
    scenarios: dict[str, Scenario] = {}
    names = tuple(Scenario.__dataclass_fields__)
    for number, entry in enumerate(entries):
        missing = [n for n in names if not isinstance(entry, dict) or n not in entry]
        if missing:
            raise InputError(f"{path}: scenario {number} lacks {', '.join(missing)}")
        wrong = [n for n in names if n != "rubric" and not isinstance(entry[n], str)]
        if wrong:
            raise InputError(f"{path}: scenario {number}: expected text in {', '.join(wrong)}")
        rubric = entry["rubric"]
        if not isinstance(rubric, dict) or set(rubric) != {"0", "1", "2"}:
            came = sorted(rubric) if isinstance(rubric, dict) else type(rubric).__name__
            raise InputError(
                f"{path}: scenario {entry['id']!r}: rubric needs the scores 0, 1 and 2, got {came}"
            )
        if entry["id"] in scenarios:
            raise InputError(f"{path}: scenario id {entry['id']!r} appears twice")
        scenarios[entry["id"]] = Scenario(**{n: entry[n] for n in names})
    return scenarios


def load_pairs(
    path: str | Path, *, scenario_ids: Iterable[str] | None = None
) -> tuple[ContrastivePair, ...]:
    """Contrastive pairs from a JSONL file.

    ``scenario_ids``, where given, are the only ids allowed. A line without ``pair_id`` gets
    one made from its content. Raises InputError that lists every bad line with its field.
    """
    known = None if scenario_ids is None else tuple(scenario_ids)
    return _load_jsonl(Path(path), lambda record: _pair(record, known), lambda p: p.pair_id)


def load_rubric_completions(
    path: str | Path, *, scenario_ids: Iterable[str] | None = None
) -> tuple[RubricCompletion, ...]:
    """Completions with a rubric score (0, 1, 2) from a JSONL file; errors as ``load_pairs``."""
    known = None if scenario_ids is None else tuple(scenario_ids)
    return _load_jsonl(
        Path(path), lambda record: _rubric_completion(record, known), lambda c: c.completion_id
    )


def load_steering_prompts(path: str | Path) -> tuple[SteeringPrompt, ...]:
    """Situations with actions of both kinds, from a JSON list. Raises InputError for a bad one."""
    path = Path(path)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: expected a JSON list of steering prompts")
    prompts = []
    for number, entry in enumerate(entries):
        try:
            empathic, task = tuple(entry["empathic_actions"]), tuple(entry["task_actions"])
            texts = (entry["scenario_id"], entry["prompt"], *empathic, *task)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: steering prompt {number} lacks {error}") from None
        if not (empathic and task and all(isinstance(t, str) and t.strip() for t in texts)):
            raise InputError(
                f"{path}: steering prompt {number}: expected a prompt and at least one action of "
                "each kind, all non-empty texts"
            )
        prompts.append(SteeringPrompt(texts[0], texts[1], empathic, task))
    return tuple(prompts)


def load_neutral_texts(path: str | Path) -> tuple[str, ...]:
    """Neutral texts from a JSONL file of ``text_id`` and ``text``; errors as ``load_pairs``."""
    found = _load_jsonl(
        Path(path), lambda r: (_text(r, "text_id"), _text(r, "text")), lambda item: item[0]
    )
    return tuple(text for _, text in found)


def load_plain_questions(path: str | Path) -> tuple[PlainQuestion, ...]:
    """Questions with choices and the index of the right one (JSONL); errors as ``load_pairs``."""
    return _load_jsonl(Path(path), _plain_question, lambda q: q.question_id)


def save_pairs(
    path: str | Path,
    pairs: Sequence[ContrastivePair],
    *,
    sides: tuple[str, str] = ("empathic_text", "non_empathic_text"),
) -> None:
    """Writes pairs as JSONL, atomically; ``load_pairs`` gives back equal pairs.

    ``sides`` names the two text fields: ``("positive_text", "negative_text")`` suits concepts
    other than empathy.
    """
    if sides not in SIDES:
        raise InputError(f"expected sides in {SIDES}, got {sides!r}")
    lines = (json.dumps(_record(p, sides), ensure_ascii=False) + "\n" for p in pairs)
    write_text(Path(path), "".join(lines))


def data_hash(items: Sequence[ContrastivePair] | Sequence[RubricCompletion]) -> str:
    """SHA-256 over the content of the items in order; equal content gives equal hashes."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(_record(item), sort_keys=True).encode())
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


def _proportional_quotas(sizes: dict[str, int], total: int) -> dict[str, int]:
    """Largest-remainder shares of ``total`` in proportion to ``sizes``."""
    exact = {name: total * size / sum(sizes.values()) for name, size in sizes.items()}
    quotas = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda name: quotas[name] - exact[name])
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _load_jsonl(
    path: Path, parse: Callable[[Record], T], identity: Callable[[T], str]
) -> tuple[T, ...]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    items: list[T] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    # Split on "\n" alone: str.splitlines would also break at U+2028 inside a JSON string.
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            if not isinstance(record, dict):
                raise InputError(f"expected a JSON object, got {type(record).__name__}")
            _check_characters(record)
            item = parse(record)
        except UnicodeDecodeError as error:
            faults.append(f"{path}:{number}: expected UTF-8, byte {error.start} is not")
        except json.JSONDecodeError as error:
            faults.append(f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno})")
        except InputError as error:
            faults.append(f"{path}:{number}: {error}")
        except (ValueError, RecursionError) as error:  # an endless integer or endless nesting
            faults.append(f"{path}:{number}: not valid JSON ({error})")
        else:
            first = seen.setdefault(identity(item), number)
            if first != number:
                faults.append(
                    f"{path}:{number}: id {identity(item)!r} was already used on line {first}"
                )
            items.append(item)
    if faults:
        more = f"\n… and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InputError("\n".join(faults[:SHOWN_FAULTS]) + more)
    if not items:
        raise InputError(f"{path}: expected one JSON object a line, the file is empty")
    return tuple(items)


def _check_characters(record: Record) -> None:
    """Lone surrogates pass as JSON escapes, but no tokenizer and no UTF-8 file takes them."""
    for name, value in record.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{name}: expected Unicode text, it holds half a surrogate pair"
            ) from None


def _text(record: Record, name: str, *, required: bool = True) -> str:
    value = record.get(name, "" if not required else None)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        came = "nothing" if name not in record else type(value).__name__
        raise InputError(f"{name}: expected text, got {came}")
    if required and not value.strip():
        raise InputError(f"{name}: expected text, it is empty")
    return value


def _scenario_id(record: Record, known: tuple[str, ...] | None) -> str:
    value = _text(record, "scenario_id")
    if known is not None and value not in known:
        close = difflib.get_close_matches(value, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected scenario_id in {{{', '.join(known)}}}, got {value!r}{hint}")
    return value


def _pair(record: Record, known: tuple[str, ...] | None) -> ContrastivePair:
    positive_name, negative_name = next((s for s in SIDES if set(s) & set(record)), SIDES[0])
    positive, negative = _text(record, positive_name), _text(record, negative_name)
    if positive.strip() == negative.strip():
        raise InputError(f"{positive_name} and {negative_name} are the same text")
    tags = record.get("tags") or []
    if not (isinstance(tags, list) and all(isinstance(t, str) for t in tags)):
        raise InputError(f"tags: expected a list of texts, got {tags!r}")
    scenario_id = _scenario_id(record, known)
    prompt = _text(record, "prompt", required=False)
    content = "\x00".join((scenario_id, prompt, positive, negative)).encode()
    made_id = f"{scenario_id}-{hashlib.sha256(content).hexdigest()[:10]}"
    named = {"situation", "format", "split", "source_model"}
    taken = named | {"pair_id", "scenario_id", "prompt", "tags", positive_name, negative_name}
    return ContrastivePair(
        pair_id=_text(record, "pair_id", required=False) or made_id,
        scenario_id=scenario_id,
        prompt=prompt,
        positive=positive,
        negative=negative,
        tags=tuple(tags),
        extra=MappingProxyType({k: v for k, v in record.items() if k not in taken}),
        **{name: _text(record, name, required=False) for name in named},
    )


def _rubric_completion(record: Record, known: tuple[str, ...] | None) -> RubricCompletion:
    score = record.get("score")
    if isinstance(score, bool) or score not in (0, 1, 2):
        raise InputError(f"score: expected 0, 1 or 2, got {score!r}")
    optional = {"prompt", "situation", "format", "source_model"}
    return RubricCompletion(
        completion_id=_text(record, "completion_id"),
        scenario_id=_scenario_id(record, known),
        score=int(score),
        text=_text(record, "text"),
        **{name: _text(record, name, required=False) for name in optional},
    )


def _plain_question(record: Record) -> PlainQuestion:
    choices, answer = record.get("choices"), record.get("answer")
    if (
        not isinstance(choices, list)
        or len(choices) < 2
        or not all(isinstance(c, str) and c.strip() for c in choices)
    ):
        raise InputError(f"choices: expected at least two texts, got {choices!r}")
    if type(answer) is not int or answer not in range(len(choices)):
        raise InputError(f"answer: expected an index in 0..{len(choices) - 1}, got {answer!r}")
    return PlainQuestion(
        _text(record, "question_id"), _text(record, "question"), tuple(choices), int(answer)
    )


def _record(item: ContrastivePair | RubricCompletion, sides: tuple[str, str] = SIDES[0]) -> Record:
    """The item as a line of its file, empty optional fields left out."""
    if isinstance(item, RubricCompletion):
        fields = {n: getattr(item, n) for n in RubricCompletion.__dataclass_fields__}
        return {k: v for k, v in fields.items() if v != ""}
    record: Record = {
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
    return {k: v for k, v in record.items() if v not in ("", [])} | unknown


def count_by(items: Iterable[Any], name: str) -> dict[str, int]:
    """How many items there are of each value of an attribute, in sorted order."""
    return dict(sorted(Counter(str(getattr(item, name)) for item in items).items()))
