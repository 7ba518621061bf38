"""What a study is asked and given: its files, its options, and its loaded inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..data import (
    find_overlaps,
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_scenarios,
    load_steering_prompts,
    shipped_data,
)
from ..directions import ESTIMATORS
from ..directions.store import load_activations, load_directions
from ..errors import DegenerateDataError, InputError
from ..evidence.baselines import ablate_words
from ..evidence.embeddings import load_embedding
from ..evidence.measure import MIN_SITUATIONS
from ..evidence.validation import ValidationResult
from ..models import Backend, load_model
from ..results import read_result
from ..types import Activations, Concept, ContrastivePair, Direction, HookedModel, Pooling, Progress
from .runs import Run

POOLINGS: tuple[Pooling, ...] = ("mean", "last")
"""How texts are pooled. The run's directions use the first; the evidence compares."""

SHOWN = 5
"""Overlaps named in a message."""
CONTRASTS = ("sentiment", "politeness", "verbosity", "refusal", "task_focus")


@dataclass(frozen=True)
class DataFiles:
    """The files a study reads. What is None is left out of the study."""

    pairs_train: Path
    pairs_test: Path
    contrast_sets: Path
    neutral_texts: Path
    plain_questions: Path
    scenarios: Path | None = None
    rubric: Path | None = None
    steering_prompts: Path | None = None
    hard_pairs: Path | None = None

    @classmethod
    def shipped(cls, root: Path | None = None) -> DataFiles:
        """The files that come with the package, or those of another folder laid out like it."""
        root = root or shipped_data()
        return cls(
            pairs_train=root / "contrastive_pairs" / "train_pairs.jsonl",
            pairs_test=root / "contrastive_pairs" / "test_pairs.jsonl",
            scenarios=root / "eia_scenarios" / "scenarios.json",
            rubric=root / "rubric_completions" / "rubric_completions.jsonl",
            steering_prompts=root / "eia_scenarios" / "steering_prompts.json",
            hard_pairs=root / "hard_pairs" / "hard_pairs.jsonl",
            contrast_sets=root / "contrast_sets",
            neutral_texts=root / "neutral" / "neutral_texts.jsonl",
            plain_questions=root / "neutral" / "plain_questions.jsonl",
        )

    def need(self, name: Literal["scenarios", "rubric", "steering_prompts"]) -> Path:
        """A file that the study can do without and the caller cannot. Raises InputError."""
        path: Path | None = getattr(self, name)
        if path is None:
            raise InputError(f"{name}: expected a file, these data have none for this concept")
        return path

    def of_pairs(self, train: Path | None, test: Path | None) -> DataFiles:
        """The same with other pairs (None: as they are). Where those are of another concept, the
        texts that are about this one (scenarios, rubric, steering prompts, hard pairs) are left
        out. Raises InputError for a file that holds no pairs.
        """
        chosen = replace(
            self, pairs_train=train or self.pairs_train, pairs_test=test or self.pairs_test
        )
        if (
            load_pairs(chosen.pairs_train)[0].concept.name
            == load_pairs(self.pairs_train)[0].concept.name
        ):
            return chosen
        return replace(chosen, scenarios=None, rubric=None, steering_prompts=None, hard_pairs=None)


def parse_layers(text: str, option: str = "--layers") -> tuple[int, ...] | Literal["all"]:
    """``all``, or layer numbers as in ``8,12,16``. Raises InputError that names the option."""
    if text.strip() == "all":
        return "all"
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{option}: expected all or numbers such as 8,12,16, got {text!r}"
        ) from None


@dataclass(frozen=True)
class StudyOptions:
    """What is asked of a study.

    ``layers`` is "all" or layer numbers; ``n_resamples`` counts bootstrap resamples, ``n_null``
    the random directions and the permutations of the evidence, ``estimators`` are compared in it;
    ``n_controls`` the random directions that are steered beside the real one; ``n_masked`` the
    telling words that are masked in the test pairs once more read; ``embedding`` names the
    sentence embedding that joins the word baselines ("none" or one of ``EMBEDDINGS``).
    ``trust_remote_code`` lets code run that comes with the model.
    ``allow_overlap`` takes test pairs that train has as well; no claim on them is then supported.
    """

    files: DataFiles
    model: str = "embedded"
    backend: Backend = "auto"
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    layers: tuple[int, ...] | Literal["all"] = "all"
    seed: int = 0
    skip_steering: bool = False
    n_resamples: int = 10_000
    n_null: int = 1000
    n_controls: int = 20
    n_masked: int = 50
    embedding: str = "none"
    allow_overlap: bool = False
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    command: str = ""


def one_concept(train: Sequence[ContrastivePair], test: Sequence[ContrastivePair]) -> Concept:
    """The concept of a study's pairs. Raises InputError where train and test differ in it."""
    ours, theirs = train[0].concept, test[0].concept
    if ours.name != theirs.name:
        raise InputError(
            f"expected train and test pairs of one concept, got {ours.name!r} and {theirs.name!r}"
        )
    return ours


def check_split(
    train: Sequence[ContrastivePair],
    test: Sequence[ContrastivePair],
    *,
    allow_overlap: bool = False,
) -> None:
    """What a study needs of its pairs, checked before a model is loaded.

    Raises InputError where either holds too few situations for intervals, or where train and test
    share ids, situations, prompts or texts and ``allow_overlap`` is not set.
    """
    for name, pairs in (("train", train), ("test", test)):
        n = len({pair.group for pair in pairs})
        if n < MIN_SITUATIONS:
            raise InputError(
                f"{name} pairs: expected at least {MIN_SITUATIONS} situations, got {n}; an "
                "interval over fewer says nothing"
            )
    shared = [overlap for overlap in find_overlaps(train, test) if overlap.exact]
    if shared and not allow_overlap:
        listed = "".join(f"\n  {overlap}" for overlap in shared[:SHOWN])
        more = f"\n  … and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
        raise InputError(
            f"train and test pairs overlap, so that a test would say nothing:{listed}{more}\n"
            "take them out (empathy-lens check TRAIN TEST lists all), or go on with "
            "--allow-overlap: then no claim on the test pairs is supported"
        )


class Study:
    """The inputs of a study, read and checked once, and its model, loaded when first needed."""

    def __init__(self, options: StudyOptions, run: Run, progress: Callable[[str], Progress]):
        self.options, self.run, self.progress = options, run, progress
        files = options.files
        self.embed = load_embedding(options.embedding)
        known = load_scenarios(files.scenarios).keys() if files.scenarios else None
        self.pairs = {
            "train": load_pairs(files.pairs_train, scenario_ids=known),
            "test": load_pairs(files.pairs_test, scenario_ids=known),
        }
        if files.hard_pairs:
            self.pairs["hard"] = load_pairs(files.hard_pairs, scenario_ids=known)
        for name in CONTRASTS:
            self.pairs[name] = load_pairs(files.contrast_sets / f"{name}.jsonl")
        self.concept = one_concept(self.pairs["train"], self.pairs["test"])
        check_split(self.pairs["train"], self.pairs["test"], allow_overlap=options.allow_overlap)
        # Texts without words have none to mask; the rest of the study does not need any.
        with suppress(DegenerateDataError):
            self.pairs["masked_test"] = ablate_words(
                self.pairs["train"], self.pairs["test"], options.n_masked
            )
        self.rubric = (
            load_rubric_completions(files.rubric, scenario_ids=known) if files.rubric else ()
        )
        self.steering_prompts = (
            load_steering_prompts(files.steering_prompts, scenario_ids=known)
            if files.steering_prompts
            else ()
        )
        self.neutral_texts = load_neutral_texts(files.neutral_texts)
        self.questions = load_plain_questions(files.plain_questions)

    @property
    def steers(self) -> bool:
        return bool(self.steering_prompts) and not self.options.skip_steering

    @cached_property
    def model(self) -> HookedModel:
        o = self.options
        self.run.announce(f"loading {o.model}")
        return load_model(
            o.model,
            backend=o.backend,
            device=o.device,
            dtype=o.dtype,
            revision=o.revision,
            trust_remote_code=o.trust_remote_code,
        )

    @property
    def model_request(self) -> list[Any]:
        """What decides the model, known without loading it."""
        o = self.options
        folder = Path(o.model)
        stamp = (
            [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())]
            if folder.is_dir()
            else []
        )
        trust = ["trust_remote_code"] if o.trust_remote_code else []
        return [o.model, o.backend, o.device, o.dtype, o.revision, list(o.layers), stamp, *trust]

    @property
    def asked(self) -> list[Any]:
        """What decides the run's results beside the pairs and the rubric's texts: its identity."""
        o = self.options
        options = {k: v for k, v in vars(o).items() if k not in ("files", "command")}
        texts = [vars(t) for t in (*self.steering_prompts, *self.questions)]
        return [options, self.model_request, texts, self.neutral_texts]

    def path(self, name: str) -> Path:
        return self.run.folder / name

    def activation_files(self, name: str) -> dict[Pooling, str]:
        """Where a set's activations are in the run's folder, by pooling."""
        return {
            pooling: f"activations/{name}{'' if pooling == 'mean' else f'_{pooling}'}.safetensors"
            for pooling in POOLINGS
        }

    def activations(self, name: str, pooling: Pooling = "mean") -> Activations:
        return load_activations(self.path(self.activation_files(name)[pooling]))

    @property
    def selected_layer(self) -> int:
        return read_result(self.path("validation_auroc.json"), ValidationResult).selected_layer

    def direction(self) -> Direction:
        path, layer = self.path("directions.safetensors"), self.selected_layer
        directions = load_directions(path)
        if layer not in directions:
            raise InputError(
                f"{path} holds layers {list(directions)}, not layer {layer}, which "
                "validation_auroc.json chose; run the study again without --resume"
            )
        return directions[layer]
