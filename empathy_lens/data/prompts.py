"""What stands beside the pairs: scenarios, scored texts, steering prompts, plain questions."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from ..errors import InputError
from ..types import PlainQuestion, RubricCompletion, Scenario, SteeringPrompt
from .reading import Record, are_texts, load_json_list, load_jsonl, scenario_id_of, text_of

ACTIONS = (("positive_actions", "negative_actions"), ("empathic_actions", "task_actions"))


def shipped_data() -> Path:
    """The folder of the data that come with the package, which its README.md describes.

    In an installed package it lies inside, in a checkout beside it.
    """
    package = Path(str(files("empathy_lens")))
    for folder in (package / "shipped", package.parent / "data"):
        if (folder / "contrastive_pairs").is_dir():
            return folder
    raise InputError(f"{package}: the shipped data are missing; install empathy-lens again")


def load_scenarios(path: str | Path) -> dict[str, Scenario]:
    """Scenarios by id, in file order. Raises InputError for a missing or malformed file."""
    path = Path(path)
    scenarios: dict[str, Scenario] = {}
    names = tuple(Scenario.__dataclass_fields__)
    for number, entry in enumerate(load_json_list(path, "scenarios")):
        missing = [n for n in names if not isinstance(entry, dict) or n not in entry]
        if missing or not isinstance(entry, dict):
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
        texts = [score for score, text in rubric.items() if not isinstance(text, str)]
        if texts:
            raise InputError(
                f"{path}: scenario {entry['id']!r}: expected text for the scores {texts} of rubric"
            )
        if entry["id"] in scenarios:
            raise InputError(f"{path}: scenario id {entry['id']!r} appears twice")
        scenarios[entry["id"]] = Scenario(**{n: entry[n] for n in names})
    return scenarios


def load_rubric_completions(
    path: str | Path, *, scenario_ids: Iterable[str] | None = None
) -> tuple[RubricCompletion, ...]:
    """Completions with a rubric score (0, 1, 2) from a JSONL file; errors as ``load_pairs``."""
    known = None if scenario_ids is None else tuple(scenario_ids)
    return load_jsonl(
        Path(path), lambda record: _rubric_completion(record, known), lambda c: c.completion_id
    )


def load_steering_prompts(
    path: str | Path, *, scenario_ids: Iterable[str] | None = None
) -> tuple[SteeringPrompt, ...]:
    """Situations with actions of both kinds, from a JSON list.

    Raises InputError for a bad one, and for a scenario that is not among ``scenario_ids`` where
    they are given.
    """
    path, known = Path(path), None if scenario_ids is None else tuple(scenario_ids)
    prompts = []
    for number, entry in enumerate(load_json_list(path, "steering prompts")):
        try:
            if not isinstance(entry, dict):
                raise InputError(f"expected a JSON object, got {type(entry).__name__}")
            positive, negative = next((n for n in ACTIONS if set(n) & set(entry)), ACTIONS[0])
            prompt = SteeringPrompt(
                scenario_id_of(entry, known),
                text_of(entry, "prompt"),
                _actions(entry, positive),
                _actions(entry, negative),
            )
        except InputError as error:
            raise InputError(f"{path}: steering prompt {number}: {error}") from None
        prompts.append(prompt)
    return tuple(prompts)


def load_neutral_texts(path: str | Path) -> tuple[str, ...]:
    """Neutral texts from a JSONL file of ``text_id`` and ``text``; errors as ``load_pairs``."""
    named = load_jsonl(
        Path(path), lambda r: (text_of(r, "text_id"), text_of(r, "text")), lambda item: item[0]
    )
    return tuple(text for _, text in named)


def load_plain_questions(path: str | Path) -> tuple[PlainQuestion, ...]:
    """Questions with choices and the index of the right one (JSONL); errors as ``load_pairs``."""
    return load_jsonl(Path(path), _plain_question, lambda q: q.question_id)


def _actions(entry: Record, name: str) -> tuple[str, ...]:
    actions = entry.get(name)
    if not actions or not are_texts(actions):
        raise InputError(f"{name}: expected at least one action, all non-empty texts")
    return tuple(actions)


def _rubric_completion(record: Record, known: tuple[str, ...] | None) -> RubricCompletion:
    score = record.get("score")
    if type(score) not in (int, float) or score not in (0, 1, 2):
        raise InputError(f"score: expected 0, 1 or 2, got {score!r}")
    optional = ("prompt", "situation", "format", "source_model")
    return RubricCompletion(
        completion_id=text_of(record, "completion_id"),
        scenario_id=scenario_id_of(record, known),
        score=int(score),
        text=text_of(record, "text"),
        **{name: text_of(record, name, required=False) for name in optional},
    )


def _plain_question(record: Record) -> PlainQuestion:
    choices, answer = record.get("choices"), record.get("answer")
    if not are_texts(choices) or len(choices) < 2:
        raise InputError(f"choices: expected at least two texts, got {choices!r}")
    if type(answer) is not int or answer not in range(len(choices)):
        raise InputError(f"answer: expected an index in 0..{len(choices) - 1}, got {answer!r}")
    return PlainQuestion(
        text_of(record, "question_id"), text_of(record, "question"), tuple(choices), answer
    )
