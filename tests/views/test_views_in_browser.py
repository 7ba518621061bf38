"""A real browser with the network cut: everything is drawn, nothing hostile runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from hostile import HOSTILE
from synthetic_run import synthetic_run, write_run
from test_views_tokens import projections

from empathy_lens.views.figures import run_figures
from empathy_lens.views.report import build_report
from empathy_lens.views.tokens_html import view_of

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    one = Browser()
    yield one
    one.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"), synthetic_run())
    path = folder / "report.html"
    path.write_text(build_report(folder), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_draws_every_figure_and_asks_for_nothing(
    browser: Browser, report: Path, width: int, dark: bool
) -> None:
    browser.open(report, width=width, dark=dark)
    assert browser.console == []
    assert browser.requests == [report.as_uri()]
    drawn = browser.run("document.querySelectorAll('.js-plotly-plot .cartesianlayer').length")
    assert drawn == len(run_figures(synthetic_run()))
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_tables_sort_by_number_both_ways(browser: Browser, report: Path) -> None:
    browser.open(report)
    rows = "[...document.querySelectorAll('#table-layers tbody tr')]"
    column = f"{rows}.map(row => +row.cells[1].dataset.sort)"
    click = "document.querySelectorAll('#table-layers th button')[1].click()"
    browser.run(click)
    rising = browser.run(column)
    assert rising == sorted(rising)
    browser.run(click)
    assert browser.run(column) == rising[::-1]
    sort = "document.querySelectorAll('#table-layers th')[1].getAttribute('aria-sort')"
    assert browser.run(sort) == "descending"


def test_slider_hover_and_arrow_keys_read_the_values(browser: Browser, tmp_path: Path) -> None:
    p = projections(["<bos>", "one", " two", " three"])
    path = tmp_path / "view.html"
    view_of([p], ["text"], layer=0).save(path)
    browser.open(path)
    browser.run(
        "(() => { const s = document.querySelector('.elt-slider input'); s.value = 2;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run("document.querySelector('.elt-slider output').textContent") == "2"
    relative = p.relative()[2]
    mean = browser.run("document.querySelector('.elt-mean').textContent").replace("−", "-")
    assert float(mean) == pytest.approx(float(relative[1:].mean()), abs=1e-3)
    box = browser.run(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        "(document.querySelectorAll('.elt-text > span')[2].getBoundingClientRect())"
    )
    browser.hover(*box)
    now = "document.querySelector('.elt-now').textContent"
    assert "two" in browser.run(now)
    browser.run("document.querySelector('.elt-text').focus()")
    browser.press("ArrowRight")
    assert "three" in browser.run(now)
    assert "steered" in browser.run(now)
    assert browser.console == []


def test_hostile_texts_run_nothing_and_load_nothing(browser: Browser, tmp_path: Path) -> None:
    run = synthetic_run()
    run["config"]["model_name"] = HOSTILE[1]
    run["steering_examples"]["examples"] = [
        {"scenario_id": t, "prompt": t, "alpha": 1.0, "shift": 0.1 * i, "seed": i, "completion": t}
        for i, t in enumerate(HOSTILE)
    ]
    run["token_views"]["examples"] = [
        {"title": t, "side": t, "tokens": [t, t], "values": [1, -1]} for t in HOSTILE
    ]
    path = write_run(tmp_path, run) / "report.html"
    path.write_text(build_report(tmp_path), encoding="utf-8")
    browser.open(path)
    assert browser.console == []
    assert browser.requests == [path.as_uri()]
    assert browser.run("typeof pwned") == "undefined"
    bad = "iframe,object,embed,base,form,img[src],a:not([href^='#'])[href]"
    assert browser.run(f'document.querySelectorAll("{bad}").length') == 0
