"""Files with one fault, for every reader: a clear error, or what stands in the file."""

import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "fuzz_readers.py"


def test_damaged_files_are_refused_in_words_or_read(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    monkeypatch.syspath_prepend(SCRIPT.parent)
    fuzz_readers = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz_readers", fuzz_readers)
    spec.loader.exec_module(fuzz_readers)
    fuzzed = fuzz_readers.fuzz(fuzz_readers.make_readers(tmp_path), 2000, 7, tmp_path)
    assert not fuzzed.faults, "\n".join(map(str, fuzzed.faults))
    assert fuzzed.accepted + fuzzed.refused == 2000
    # A damaged record of a stage has it run again; a report draws the rest; generation settings
    # that say nothing are passed by; eia_correlation.json holds another file as it came.
    lenient = ("stage record", "report", "model", "eia_correlation.json")
    for name, counts in fuzzed.by_reader.items():
        if not name.startswith(lenient) and counts.get("inputs", 0) > 40:
            assert counts["refused"] > counts["inputs"] / 5, name
