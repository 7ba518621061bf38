"""All that is looked at: figures, per-token views, the report. Nothing is computed here.

In: a run's folder, or a model, a direction and a text. Out: offline HTML pages, plotly figures,
coloured text for a terminal, all with whatever part of a run is there, and all of it escaped.

>>> token_view(model, "I stop and help.", directions).save(Path("view.html"))
>>> write_report(Path("results/embedded"))
PosixPath('results/embedded/report.html')
"""

from .comparison import build_comparison, write_comparison
from .figures import run_figures
from .report import build_report, write_images, write_report
from .run_results import RunResults, read_run
from .token_page import TokenView, token_view, view_of
from .tokens import circuitsvis_view, token_text

__all__ = [
    "RunResults",
    "TokenView",
    "build_comparison",
    "build_report",
    "circuitsvis_view",
    "read_run",
    "run_figures",
    "token_text",
    "token_view",
    "view_of",
    "write_comparison",
    "write_images",
    "write_report",
]
