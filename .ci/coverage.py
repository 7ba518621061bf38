"""Prints the coverage of each room; exits 1 where a module lies below 85%.

python .ci/coverage.py coverage.json
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

LEAST = 85.0


def main() -> int:
    files = json.loads(Path(sys.argv[1]).read_text())["files"]
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    low = []
    for name, entry in files.items():
        summary = entry["summary"]
        parts = Path(name).parts
        room = rooms[parts[1] if len(parts) > 2 else "loose modules"]
        room[0] += summary["covered_lines"]
        room[1] += summary["num_statements"]
        if summary["percent_covered"] < LEAST:
            low.append(f"{name}: {summary['percent_covered']:.0f}%")
    for room_name, (covered, statements) in sorted(rooms.items()):
        print(f"{room_name:15} {100 * covered / max(1, statements):5.1f}% of {statements}")
    covered, statements = (sum(r[i] for r in rooms.values()) for i in (0, 1))
    print(f"{'empathy_lens':15} {100 * covered / max(1, statements):5.1f}% of {statements}")
    if low:
        print(f"below {LEAST:g}%:", *low, sep="\n  ")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
