"""Writing a run's figures and its report beside the results they are drawn from."""

from pathlib import Path

from ..files import write_text
from .figures import run_figures
from .report import build_report
from .runs import read_run

__all__ = ["write_report"]


def write_report(folder: Path) -> Path:
    """Writes ``figures/*.html`` and ``report.html`` of a run's folder; the report's path.

    Figures share one copy of plotly.js in their folder; the report holds its own.
    """
    run, _ = read_run(folder)
    figures = folder / "figures"
    for name, figure in run_figures(run).items():
        write_text(figures / f"{name}.html", figure.to_html(include_plotlyjs="plotly.min.js"))
    write_plotly(figures / "plotly.min.js")
    report = folder / "report.html"
    write_text(report, build_report(folder))
    return report


def write_plotly(path: Path) -> None:
    """The copy of plotly.js that the installed plotly carries."""
    from plotly.offline import get_plotlyjs

    write_text(path, get_plotlyjs())
