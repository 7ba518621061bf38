"""Writing a run's figures and its report beside the results they are drawn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from plotly.offline import get_plotlyjs

from ..errors import InputError
from ..files import atomic_path, write_text
from .comparison import build_comparison
from .figures import run_figures
from .report import build_report
from .runs import read_run

__all__ = ["write_comparison", "write_images", "write_report"]

KALEIDO = "pip install 'kaleido>=1', and have Chrome or Chromium"


def write_report(folder: Path) -> Path:
    """Writes ``figures/*.html`` and ``report.html`` of a run's folder; the report's path.

    Figures share one copy of plotly.js in their folder; the report holds its own.
    """
    run, _ = read_run(folder)
    figures = folder / "figures"
    for name, figure in run_figures(run).items():
        write_text(figures / f"{name}.html", figure.to_html(include_plotlyjs="plotly.min.js"))
    write_text(figures / "plotly.min.js", get_plotlyjs())
    report = folder / "report.html"
    write_text(report, build_report(folder))
    return report


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Writes several runs side by side as one page; its path."""
    write_text(path, build_comparison(folders))
    return path


def write_images(folder: Path, kind: Literal["png", "svg"]) -> list[Path]:
    """Writes ``figures/*.png`` or ``*.svg`` of a run's folder; their paths.

    Raises InputError where kaleido is not installed or finds no browser to draw with.
    """
    run, _ = read_run(folder)
    paths = []
    for name, figure in run_figures(run).items():
        try:
            picture = figure.to_image(format=kind, width=900, scale=2 if kind == "png" else 1)
        except ValueError as error:  # What plotly raises without kaleido.
            raise InputError(f"pictures need kaleido: {KALEIDO} ({_first(error)})") from None
        except RuntimeError as error:
            raise InputError(f"kaleido drew no picture: {KALEIDO} ({_first(error)})") from None
        path = folder / "figures" / f"{name}.{kind}"
        with atomic_path(path) as temporary:
            temporary.write_bytes(picture)
        paths.append(path)
    return paths


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
