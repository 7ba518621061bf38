"""Files: read strictly, written whole, and by one process at a time.

In: paths, texts and JSON values; out: the same, or an InputError that names file and field. A kill
at any moment leaves the old file or the new one, and what it left half-written is cleared away.

>>> write_json(folder / "figures.json", {"auroc": 0.7})
>>> read_json(folder / "figures.json")
{'auroc': 0.7}
"""

from .locks import locked
from .reading import input_hash, parse_json, read_bytes, read_json, sha256_file
from .writing import (
    atomic_path,
    check_writable,
    file_stem,
    remove_leftovers,
    scratch_folder,
    write_json,
    write_text,
)

__all__ = [
    "atomic_path",
    "check_writable",
    "file_stem",
    "input_hash",
    "locked",
    "parse_json",
    "read_bytes",
    "read_json",
    "remove_leftovers",
    "scratch_folder",
    "sha256_file",
    "write_json",
    "write_text",
]
