"""A study in a terminal: progress, then the report and the criteria."""

from __future__ import annotations

import time
from pathlib import Path

from ..console import criteria_table, progress_bars
from ..study import StudyOptions, run_study, summarise
from ..study.runs import RECORDS, Run
from ..views import write_report


def study_into(folder: Path, options: StudyOptions, *, resume: bool) -> None:
    """Runs the study, draws its report, and prints which criteria it meets."""
    start, begun = time.perf_counter(), (folder / RECORDS).is_dir()
    with progress_bars() as console, Run(folder, resume, console.announce) as run:
        if resume and not begun:
            console.announce(f"nothing to resume in {folder}: this run begins")
        run_study(options, run, console.progress)
        summary = summarise(run, time.perf_counter() - start)
        console.announce("report")
        write_report(folder)
    criteria_table(summary, folder)
