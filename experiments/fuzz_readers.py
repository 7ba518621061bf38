"""Do the readers take damaged files with a clear error? Mutates files by their structure.

    python experiments/fuzz_readers.py --inputs 20000 --json

Every file that the toolkit reads is taken in turn, one value of it is replaced (missing, null, of
another type, NaN, huge, nested without end, half a surrogate pair, …), and it is read. Refused is a
clear error, accepted a value; anything else is uncaught and printed with the mutation that did it.
"""

import json
import random
import shutil
import tempfile
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from empathy_lens.cli.shared import JsonOption, SeedOption, clear_errors, run_script

ROOT = Path(__file__).resolve().parents[1]
DATA, RESULTS = ROOT / "data", ROOT / "results" / "embedded"
RAW = {"@raw0": "NaN", "@raw1": "1e400", "@raw2": "9" * 5000, "@raw3": "[" * 5000 + "]" * 5000,
       "@raw4": '"\\ud800"', "@raw5": "-Infinity", "@raw6": '"' + "x" * 200_000 + '"'}  # fmt: skip
"""What JSON can spell and Python's writer would not; put in where a placeholder stands."""
VALUES = (None, True, "", " ", "text", "12", -1, 0, 0.5, 10**30, [], {}, ["text"], {"a": 1}, *RAW)
Node = tuple[Any, Any]


@dataclass(frozen=True)
class Reader:
    """A reader and a sound file for it. ``parse`` and ``spell`` are of the file's language."""

    name: str
    file: Path
    read: Callable[[Path], object]
    parse: Callable[[bytes], Any]
    spell: Callable[[Any, bytes], bytes]
    weight: float = 10


@dataclass(frozen=True)
class Fault:
    """What a mutation did that it must not do."""

    reader: str
    mutation: str
    error: str


@dataclass(frozen=True)
class Fuzzed:
    """Inputs by outcome; ``by_reader`` counts inputs, and those refused and accepted."""

    inputs: int
    uncaught: int
    accepted: int
    refused: int
    by_reader: dict[str, dict[str, int]]
    faults: tuple[Fault, ...]


def fuzz(readers: Iterable[Reader], n_inputs: int, seed: int, folder: Path) -> Fuzzed:
    """Mutates the readers' files ``n_inputs`` times; ``folder`` takes the files."""
    from empathy_lens.errors import EmpathyLensError

    draw, readers = random.Random(seed), list(readers)
    counts: dict[str, Counter[str]] = {reader.name: Counter() for reader in readers}
    faults: list[Fault] = []
    weights = [reader.weight for reader in readers]
    for reader in draw.choices(readers, weights, k=n_inputs):
        sound = reader.file.read_bytes()
        document = reader.parse(sound)
        mutation = mutate(document, draw)
        path = reader.file if folder in reader.file.parents else folder / reader.file.name
        path.write_bytes(reader.spell(document, sound))
        outcome = "accepted"
        try:
            reader.read(path)
        except EmpathyLensError:
            outcome = "refused"
        except Exception as error:
            outcome = "uncaught"
            where = traceback.extract_tb(error.__traceback__)[-1]
            shown = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            faults.append(Fault(reader.name, mutation, shown[:300]))
        path.write_bytes(sound)
        counts[reader.name].update((outcome, "inputs"))
    total = sum(counts.values(), Counter[str]())
    return Fuzzed(
        inputs=n_inputs,
        uncaught=total["uncaught"],
        accepted=total["accepted"],
        refused=total["refused"],
        by_reader={name: dict(sorted(count.items())) for name, count in counts.items()},
        faults=tuple(faults),
    )


def mutate(document: Any, draw: random.Random) -> str:
    """Changes one value of nested lists and dicts in place; says where and how."""
    nodes = list(_nodes(document, ""))
    where, holder, key = draw.choice(nodes)
    kind = draw.choice(("replace", "replace", "replace", "drop", "rename", "repeat"))
    if kind == "drop" or (kind == "rename" and isinstance(holder, list)):
        del holder[key]
        return f"{where} dropped"
    if kind == "rename":
        holder[f"{key}_"] = holder.pop(key)
        return f"{where} renamed"
    if kind == "repeat" and isinstance(holder, list):
        holder.insert(key, holder[key])
        return f"{where} twice"
    value = draw.choice(VALUES)
    holder[key] = value
    return f"{where} = {value!r}"


def _nodes(value: Any, where: str) -> Iterable[tuple[str, Any, Any]]:
    """Every place in a document, of long lists the first and last few."""
    if isinstance(value, dict):
        keys: Iterable[Any] = list(value)
    elif isinstance(value, list):
        keys = [*range(min(3, len(value))), *range(max(3, len(value) - 1), len(value))]
    else:
        return
    for key in keys:
        yield f"{where}.{key}", value, key
        yield from _nodes(value[key], f"{where}.{key}")


def _json_text(value: Any) -> str:
    text = json.dumps(value)
    for placeholder, raw in RAW.items():
        text = text.replace(f'"{placeholder}"', raw)
    return text


def _spell_json(document: Any, _: bytes) -> bytes:
    return _json_text(document).encode()


def _parse_lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()[:12]]


def _spell_lines(document: list[Any], _: bytes) -> bytes:
    return "\n".join(map(_json_text, document)).encode() + b"\n"


def _parse_toml(data: bytes) -> Any:
    return tomllib.loads(data.decode())


def _spell_toml(document: dict[str, Any], _: bytes) -> bytes:
    return "\n".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in document.items()).encode()


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # null and JSON's NaN are no TOML: then the file as a whole is refused.
    return _json_text(value)


def _parse_metadata(data: bytes) -> Any:
    """The header of a safetensors file, its metadata parsed."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header | {"__metadata__": {k: json.loads(v) for k, v in header["__metadata__"].items()}}


def _spell_metadata(document: Any, sound: bytes) -> bytes:
    notes = document.get("__metadata__")
    if isinstance(notes, dict):
        document["__metadata__"] = {k: _json_text(v) for k, v in notes.items()}
    header = _json_text(document).encode()
    start = 8 + int.from_bytes(sound[:8], "little")
    return len(header).to_bytes(8, "little") + header + sound[start:]


def make_readers(folder: Path) -> list[Reader]:
    """Every reader with a sound file; files that no checkout holds are made in the folder."""
    from empathy_lens import data
    from empathy_lens.directions.store import load_activations, load_directions
    from empathy_lens.games.play import load_play
    from empathy_lens.pairs.api_judge import steered_texts
    from empathy_lens.pairs.plan import DEFAULT_PROMPTS, load_prompts
    from empathy_lens.pairs.review import load_decisions
    from empathy_lens.results import read_result
    from empathy_lens.vendors import DEFAULT_CONFIG, load_config, read_journal
    from empathy_lens.views import write_report
    from empathy_lens.views.run_results import KINDS

    lines, texts = (_parse_lines, _spell_lines), (json.loads, _spell_json)
    toml, tensors = (_parse_toml, _spell_toml), (_parse_metadata, _spell_metadata)
    made = sound_files(folder)
    pairs = DATA / "contrastive_pairs" / "test_pairs.jsonl"
    rubric = DATA / "rubric_completions" / "rubric_completions.jsonl"
    scenarios = DATA / "eia_scenarios"
    neutral = DATA / "neutral"
    readers = [
        Reader("pairs", pairs, data.load_pairs, *lines),
        Reader("rubric", rubric, data.load_rubric_completions, *lines),
        Reader("scenarios", scenarios / "scenarios.json", data.load_scenarios, *texts),
        Reader(
            "steering prompts",
            scenarios / "steering_prompts.json",
            data.load_steering_prompts,
            *texts,
        ),
        Reader("neutral", neutral / "neutral_texts.jsonl", data.load_neutral_texts, *lines),
        Reader("questions", neutral / "plain_questions.jsonl", data.load_plain_questions, *lines),
        Reader("vendors.toml", DEFAULT_CONFIG, load_config, *toml),
        Reader("prompts.toml", DEFAULT_PROMPTS, load_prompts.__wrapped__, *toml),
        Reader("journal", made["journal"], read_journal, *lines),
        Reader("reviews", made["reviews"], load_decisions, *lines),
        Reader("directions", RESULTS / "directions.safetensors", load_directions, *tensors),
        Reader("activations", made["activations"], load_activations, *tensors),
        Reader("play", made["play"], load_play, *tensors),
        Reader("judged texts", RESULTS / "steering_examples.json", steered_texts, *texts, weight=3),
    ]
    report = folder / "run"
    shutil.copytree(RESULTS, report)
    for name, kind in KINDS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            readers.append(
                Reader(f"{name}.json", path, partial(read_result, kind=kind), *texts, weight=4)
            )
            readers.append(
                Reader(
                    f"report of {name}.json",
                    report / path.name,
                    lambda p: write_report(p.parent),
                    *texts,
                    weight=0.05,
                )
            )
    return readers


def sound_files(folder: Path) -> dict[str, Path]:
    """A journal, reviews, activations and a play, as the toolkit writes them."""
    import torch

    from empathy_lens.directions.store import load_directions, save_activations
    from empathy_lens.games.episodes import GAMES, new_game, play_episode, scripted_policy
    from empathy_lens.games.play import Decision, Play, save_play
    from empathy_lens.pairs.review import Decision as Review
    from empathy_lens.pairs.review import EditedTexts, save_decision
    from empathy_lens.types import Activations, Site
    from empathy_lens.vendors.journal import Answered, Asked, Failed, open_journal

    direction = next(iter(load_directions(RESULTS / "directions.safetensors").values()))
    paths = {
        name: folder / f"sound-{name}" for name in ("journal", "reviews", "activations", "play")
    }
    with open_journal(paths["journal"]) as journal:
        about: dict[str, Any] = {"call": "a", "vendor": "v", "model": "m", "purpose": "p"}
        journal.write(Asked(**about, most_usd=0.2))
        journal.write(Answered(**about, body="{}", cost_usd=0.1, input_tokens=3, output_tokens=4))
        journal.write(Failed(**about, kind="timeout", message="late", cost_usd=0.0))
    texts = EditedTexts("Prompt.", "Positive.", "Negative.")
    save_decision(paths["reviews"], Review("p1", "ann", "edit", "hash", "note", texts))
    save_decision(paths["reviews"], Review("p2", "ann", "accept", "hash"))
    save_decision(paths["reviews"], Review("p3", "ben", "reject", "hash"))
    save_activations(
        paths["activations"],
        Activations(
            values=torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(0)),
            sites=(Site(1),),
            labels=torch.tensor([True, False, True, False]),
            pair_ids=("a", "a", "b", "b"),
            scenario_ids=("s",) * 4,
            groups=("s/a", "s/a", "s/b", "s/b"),
            n_tokens=(3, 4, 5, 6),
            pooling="mean",
            provenance=direction.provenance,
        ),
    )
    game = next(iter(GAMES))
    episode = play_episode(new_game(game), scripted_policy("task", game), 0)
    decision = Decision(
        episode=0,
        game_id=game,
        seed=0,
        turn=0,
        plea_heard=True,
        legal=("a", "b"),
        scores=(-1.0, -2.0),
        probabilities=(0.7, 0.3),
        action="a",
        n_prompt_tokens=10,
    )
    save_play(
        paths["play"],
        Play(
            episodes=(episode,),
            preambles=("",),
            decisions=(decision,),
            layers=(1,),
            provenance=direction.provenance,
            n_tokens=100,
            resid_post=torch.zeros(1, 1, 8),
        ),
    )
    return paths


def main(
    inputs: Annotated[int, typer.Option(min=1, metavar="N", help="mutated files to read")] = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Mutate files and read them; exit code 1 where a reader raises what is no clear error."""
    with clear_errors("Run it again: nothing is kept."), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fuzzed = fuzz(make_readers(folder), inputs, seed, folder)
        if as_json:
            from empathy_lens.results import to_plain

            print(json.dumps(to_plain(fuzzed), indent=2))
        else:
            for reader, counts in fuzzed.by_reader.items():
                print(f"{reader}: " + ", ".join(f"{k} {n}" for k, n in counts.items()))
            for fault in fuzzed.faults:
                print(f"{fault.reader}: {fault.mutation}\n  {fault.error}")
        if fuzzed.uncaught:
            raise SystemExit(1)


if __name__ == "__main__":
    run_script(main)
