"""Do the readers take damaged files with a clear error? Mutates files by their structure.

    python experiments/fuzz_readers.py --inputs 20000 --json
    python experiments/fuzz_readers.py --inputs 200 --only report,model

Every kind of file that the toolkit reads (``fuzzed_files.py``) is taken in turn and damaged: one
value is missing, null, of another type, NaN, huge, nested without end, half a surrogate pair, or
the file is cut short or one byte of it changed. Refused is a clear error that names the file,
accepted a value that is what stands in the file; of a file with a checksum, what was saved.
Anything else counts as uncaught, and is printed with the mutation that did it.

The mutators are written here and not taken from hypothesis: a mutation changes one place of a file
that a machine wrote, so that there is nothing to shrink, and a seed names its inputs.
"""

import copy
import json
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from fuzzed_files import make_readers
from fuzzed_formats import RAW, Reader, agrees, same

from empathy_lens.cli.shared import JsonOption, SeedOption, clear_errors, run_script

VALUES = (None, True, "", " ", "text", "12", -1, 0, 0.5, 10**30, [], {}, ["text"], {"a": 1}, *RAW)
Node = tuple[Any, Any]


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
    draw, readers = random.Random(seed), list(readers)
    counts: dict[str, Counter[str]] = {reader.name: Counter() for reader in readers}
    faults: list[Fault] = []
    saved: dict[str, Any] = {}
    for reader in draw.choices(readers, [reader.weight for reader in readers], k=n_inputs):
        sound = reader.file.read_bytes()
        path = reader.file if folder in reader.file.parents else folder / reader.file.name
        path.write_bytes(sound)
        if reader.whole and reader.name not in saved:
            # A copy: tensors that were read lie in the file itself, which is about to change.
            saved[reader.name] = copy.deepcopy(reader.read(path))
        mutation, damaged = _damaged(reader, sound, draw)
        path.write_bytes(damaged)
        outcome, error = _outcome(reader, path, saved.get(reader.name))
        path.write_bytes(sound)
        if error:
            faults.append(Fault(reader.name, mutation, error[:400]))
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


def _outcome(reader: Reader, path: Path, saved: Any) -> tuple[str, str]:
    """What became of a file, and what is wrong with that."""
    from empathy_lens.errors import EmpathyLensError

    try:
        value = reader.read(path)
    except EmpathyLensError as error:
        if (reader.fitting or path.name) in str(error):
            return "refused", ""
        return "uncaught", f"the message does not name the file: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Parsers in Rust panic past Exception.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "uncaught", (
            f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        )
    if reader.whole and not same(value, saved):
        return "uncaught", "accepted, and not what was saved"
    if reader.plain is not None:
        written = reader.language.parse(path.read_bytes())
        read = reader.plain(value)
        if not agrees(read, written, lenient=reader.lenient):
            return "uncaught", "accepted, and not what stands in the file"
    return "accepted", ""


def _damaged(reader: Reader, sound: bytes, draw: random.Random) -> tuple[str, bytes]:
    """The file with one fault, and which."""
    kind = draw.choice(("value",) * 8 + ("cut", "byte"))
    at = draw.randrange(len(sound))
    if kind == "cut":
        return f"cut after {at} bytes", sound[:at]
    if kind == "byte":
        other = draw.choice(b'0 x"}]')
        return f"byte {at} = {chr(other)!r}", sound[:at] + bytes([other]) + sound[at + 1 :]
    document = reader.language.parse(sound)
    mutation = mutate(document, draw)
    return mutation, reader.language.spell(document, sound)


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


def main(
    inputs: Annotated[int, typer.Option(min=1, metavar="N", help="mutated files to read")] = 2000,
    seed: SeedOption = 0,
    only: Annotated[
        str, typer.Option(metavar="LIST", help="readers whose name starts with one of these")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Mutate files and read them; exit code 1 where a reader raises what is no clear error."""
    from empathy_lens.errors import InputError

    with clear_errors("Run it again: nothing is kept."), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [r for r in make_readers(folder) if r.name.startswith(tuple(only.split(",")))]
        if not chosen:
            raise InputError(f"--only: expected the beginnings of readers' names, got {only!r}")
        fuzzed = fuzz(chosen, inputs, seed, folder)
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
