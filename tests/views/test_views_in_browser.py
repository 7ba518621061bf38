"""A real browser with the network cut: everything is drawn, nothing hostile runs.

Screenshots are kept in ``build/screenshots``, whose path is printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from hostile import HOSTILE, READABLE
from synthetic_run import results, synthetic_run, write_run
from test_views_tokens import projections

from empathy_lens.views import build_comparison, view_of
from empathy_lens.views.figures import run_figures
from empathy_lens.views.report import build_report

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.slow,
]

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
AXE = os.environ.get("EMPATHY_LENS_AXE")
needs_axe = pytest.mark.skipif(
    AXE is None,
    reason="EMPATHY_LENS_AXE does not name axe.min.js; .ci/run fetches it with npm pack axe-core",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    one = Browser()
    yield one
    one.close()
    print(f"\nscreenshots: {SCREENSHOTS}")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"), synthetic_run())
    path = folder / "report.html"
    path.write_text(build_report(folder), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, other = tmp_path_factory.mktemp("runs"), synthetic_run()
    other["config"]["model_name"] = "HuggingFaceTB/SmolLM2-135M-Instruct"
    del other["steering_examples"]
    runs = [write_run(folder / "a", synthetic_run()), write_run(folder / "b", other)]
    path = folder / "comparison.html"
    path.write_text(build_comparison(runs), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "view.html"
    sides = [projections(["<bos>", "Go", "?", *words.split("|")], pooled_from=3) for words in SIDES]
    view_of(sides, ["unsteered", "steered"], title="Two texts").save(path)
    return path


SIDES = ("I| stop| and| wait|.|\n|The| child| runs", "I| go| on|,| 👩\u200d|👧| or| not|.")
PAGES = ("report", "comparison", "tokens")


@pytest.fixture
def page(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, request.getfixturevalue(request.param)


@pytest.mark.parametrize("page", PAGES, indirect=True)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_is_drawn_and_asks_for_nothing(
    browser: Browser, page: tuple[str, Path], width: int, dark: bool
) -> None:
    name, path = page
    browser.open(path, width=width, dark=dark)
    browser.screenshot(SCREENSHOTS / f"{name}-{width}-{'dark' if dark else 'light'}.png")
    assert browser.console == []
    assert browser.asked_for == [path.as_uri()]
    drawn = browser.run("document.querySelectorAll('.js-plotly-plot .cartesianlayer').length")
    assert drawn == {"report": len(run_figures(results(synthetic_run()))), "comparison": 3}.get(
        name, 0
    )
    assert browser.run("document.documentElement.scrollWidth") <= width
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")


@needs_axe
@pytest.mark.parametrize("page", PAGES, indirect=True)
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_violation(
    browser: Browser, page: tuple[str, Path], dark: bool
) -> None:
    browser.open(page[1], dark=dark)
    assert AXE is not None
    browser.run(Path(AXE).read_text(encoding="utf-8") + ";0")
    found = browser.run(
        "axe.run().then(({violations}) => violations.map(({id, impact, nodes}) =>"
        " [impact, id, nodes.slice(0, 3).map(n => n.html.slice(0, 120))]))"
    )
    assert [v for v in found if v[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("page", PAGES, indirect=True)
def test_print_hides_what_only_a_screen_can_use(browser: Browser, page: tuple[str, Path]) -> None:
    browser.open(page[1], dark=True)
    browser.print_style()
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    shown = "[...document.querySelectorAll('nav, .elt-slider')].filter(e => e.offsetParent).length"
    assert browser.run(shown) == 0
    assert browser.run(
        "[...document.querySelectorAll('.elt-text')].every(e =>"
        " getComputedStyle(e).maxHeight === 'none')"
    )


def test_hovering_a_figure_shows_the_saved_numbers(browser: Browser, report: Path) -> None:
    browser.open(report, height=4000)
    box = browser.run(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])(document.querySelectorAll("
        "'#plot-auroc_by_layer .scatterlayer .trace:nth-child(2) .point')[7]"
        ".getBoundingClientRect())"
    )
    browser.hover(*box)
    browser.run("new Promise(done => setTimeout(done, 300))")
    said = browser.run("document.querySelector('#plot-auroc_by_layer .hoverlayer').textContent")
    assert "layer 7" in said
    assert "0.889 [0.829, 0.919]" in said


def test_the_key_hides_and_shows_a_curve(browser: Browser, report: Path) -> None:
    browser.open(report)
    key = "document.querySelector('#plot-auroc_by_layer + .key button:not([aria-pressed=x])')"
    visible = "document.querySelector('#plot-auroc_by_layer').data[0].visible !== false"
    for expected in (False, True):
        browser.run(f"{key}.click()")
        assert browser.run(visible) is expected
        assert browser.run(f"{key}.getAttribute('aria-pressed')") == str(expected).lower()


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
    value = f"{float(relative[2]):+.3f}".replace("-", "−")
    assert browser.run(now) == f"“two” {value}, position 2, pooled"
    tip = browser.run("document.querySelector('.elt-tip').innerText")
    assert tip == f"“two” {value}\nposition 2 · pooled"
    browser.run("document.querySelector('.elt-text').focus()")
    browser.press("ArrowRight")
    assert "three" in browser.run(now)
    assert "steered" in browser.run(now)
    assert browser.console == []


def test_hostile_texts_run_nothing_and_load_nothing(browser: Browser, tmp_path: Path) -> None:
    run = synthetic_run()
    run["config"]["model_name"] = HOSTILE[1]
    example, view = run["steering_examples"]["examples"][0], run["token_views"]["examples"][0]
    run["steering_examples"]["examples"] = [
        example | {"scenario_id": t, "prompt": t, "seed": i, "completion": t}
        for i, t in enumerate(READABLE)
    ]
    view |= {"values": [[1.0, -1.0], [0.0, 2.0]], "pooled": [True, True], "bos": [False, False]}
    run["token_views"]["examples"] = [
        view | {"title": t, "side": t, "tokens": [t, t]} for t in READABLE
    ]
    path = write_run(tmp_path, run) / "report.html"
    path.write_text(build_report(tmp_path), encoding="utf-8")
    browser.open(path)
    assert browser.console == []
    assert browser.asked_for == [path.as_uri()]
    assert browser.run("typeof pwned") == "undefined"
    bad = "iframe,object,embed,base,form,img[src],a:not([href^='#'])[href]"
    assert browser.run(f'document.querySelectorAll("{bad}").length') == 0
