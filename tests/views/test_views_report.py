"""The report opens anywhere, from any part of a run, and no text in it can do anything."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE, KINDS, READABLE
from plotly.offline import get_plotlyjs
from synthetic_run import estimate, synthetic_run, write_run

from empathy_lens.errors import InputError
from empathy_lens.files import write_json
from empathy_lens.results import RunIdentity, stamped
from empathy_lens.types import Concept
from empathy_lens.views import build_report, write_report
from empathy_lens.views.report import MAX_BYTES
from empathy_lens.views.run_results import PARTS

EVENTS = re.compile(r"^on\w+$")


class Page(HTMLParser):
    """What a browser would make of a page, as far as danger goes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._inside = ""
        # Plotly itself is nobody's text; leaving it out saves most of the parsing.
        self.feed(html.replace(get_plotlyjs(), ""))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attrs, sofar = self.scripts[-1]
            self.scripts[-1] = (attrs, sofar + data)
        elif self._inside != "style":
            self.text.append(data)


def islands(page: Page) -> list[str]:
    return [text for attrs, text in page.scripts if attrs.get("type") == "application/json"]


def assert_sealed(html: str) -> Page:
    page = Page(html)
    running = [text for attrs, text in page.scripts if "type" not in attrs]
    assert len(running) == 2
    assert not any(EVENTS.match(name) for _, name, _ in page.attributes)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "data", "srcdoc", "xlink:href", "poster"):
            assert (tag, name) == ("a", "href"), (tag, name, value)
            assert value.startswith("#"), (tag, name, value)
    forbidden = {"iframe", "object", "embed", "link", "base", "form", "img", "svg", "math", "video"}
    assert not forbidden & set(page.tags)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    policy = next(v for t, n, v in page.attributes if n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    for text in islands(page):
        json.loads(text)
        assert "<" not in text
    return page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_report(write_run(tmp_path_factory.mktemp("run"), synthetic_run()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(build_report(write_run(tmp_path_factory.mktemp("plain"), synthetic_run("word"))))


def test_a_full_run_gives_one_sealed_page_below_the_limit(full: str) -> None:
    page = assert_sealed(full)
    assert len(full.encode()) <= MAX_BYTES
    assert page.tags["h1"] == page.tags["main"] == page.tags["nav"] == 1
    text = " ".join(page.text)
    for expected in (
        "google/gemma-3-270m",
        "not met",
        "not measured",
        "cannot tell",
        "0.941 [0.881, 0.971]",
        "alpha 0 (unsteered)",
        "7 of 12",
        "131.2",
        "python experiments/run_full_pipeline.py",
    ):
        assert expected in text, expected


def test_a_report_names_what_another_run_wrote_and_by_which(tmp_path: Path) -> None:
    whole = synthetic_run()
    run = {name: whole[name] for name in ("config", "cosines", "on_policy", "steered_play")}
    write_run(tmp_path, run)
    ours, theirs = (
        RunIdentity(name * 12, f"2026-01-0{i}T00:00:00Z", "0.2.0", None)
        for i, name in enumerate("ab", 1)
    )
    for name, data in run.items():
        if name != "steered_play":
            write_json(tmp_path / f"{name}.json", stamped(data, ours))
    write_json(tmp_path / "on_policy.json", stamped(run["on_policy"], theirs))
    text = " ".join(" ".join(Page(build_report(tmp_path)).text).split())
    assert (
        f"Files of several runs: this is run {ours}; on_policy.json is from run {theirs}; "
        "steered_play.json is from a run that it does not name."
    ) in text


def test_the_figures_of_equal_runs_are_equal(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"cosines": synthetic_run()["cosines"]})
    pages = []
    for _ in range(2):
        write_report(run)
        pages.append({p.name: p.read_bytes() for p in (run / "figures").glob("*.html")})
    assert pages[0] == pages[1] != {}


def test_a_run_about_another_concept_never_speaks_of_empathy(tmp_path: Path) -> None:
    honesty = Concept("honesty", "honest", "deceptive")
    report = write_report(write_run(tmp_path, synthetic_run(concept=honesty)))
    page = report.read_text(encoding="utf-8")
    text = " ".join(assert_sealed(page).text)
    for expected in ("Honesty as a direction", "honest side", "Most deceptive: ", "judged honest"):
        assert expected in " ".join(text.split()), expected
    for path in (report, *sorted((tmp_path / "figures").glob("*.html"))):
        shown = re.sub("empathy[_-]lens", "", path.read_text(encoding="utf-8"), flags=re.I)
        assert not {word for word in ("empath", "task-focused") if word in shown.lower()}, path


def test_tables_have_captions_and_scoped_heads(full: str) -> None:
    page = Page(full)
    assert page.tags["caption"] == page.tags["table"]
    scopes = [value for tag, name, value in page.attributes if tag == "th" and name == "scope"]
    assert len(scopes) == page.tags["th"]


@pytest.mark.parametrize("part", PARTS)
def test_a_run_with_only_one_part_gives_a_report(part: str, tmp_path: Path) -> None:
    html = build_report(write_run(tmp_path, {part: synthetic_run()[part]}))
    assert_sealed(html)
    assert (part == "summary") != ("summary." in html.split("<nav")[0])


@pytest.mark.parametrize("part", PARTS)
def test_a_run_without_one_part_gives_a_report(part: str, tmp_path: Path) -> None:
    run = synthetic_run()
    del run[part]
    assert_sealed(build_report(write_run(tmp_path, run)))


def test_empty_and_odd_parts_give_a_report(tmp_path: Path) -> None:
    odd: dict[str, dict[str, object]] = {part: {} for part in PARTS}
    odd["validation_auroc"] = {"layers": {"x": 1, "0": None}, "projections": [1, {"label": 3}]}
    odd["evidence"] = {"probe": None, "verdicts": "none", "baselines": [1], "hard_pairs": 3}
    odd["steering_examples"] = {"examples": [{"alpha": None, "completion": None, "prompt": 3}]}
    odd["token_views"] = {"examples": [{"tokens": ["a"], "values": []}, {"tokens": ["a", "b"]}]}
    odd["eia_correlation"] = {"rubric": None, "on_policy": None}
    text = " ".join(assert_sealed(build_report(write_run(tmp_path, odd))).text)
    for part in PARTS:
        assert re.search(rf"Could not be read: \S*/{part}\.json: ", text), part


def test_a_file_that_cannot_be_read_is_reported_on_the_page(tmp_path: Path) -> None:
    write_run(tmp_path, {"config": synthetic_run()["config"]})
    (tmp_path / "evidence.json").write_text('{"probe": ', encoding="utf-8")
    (tmp_path / "summary.json").write_text("[]", encoding="utf-8")
    text = " ".join(assert_sealed(build_report(tmp_path)).text)
    assert "evidence.json" in text
    assert "Invalid JSON" in text
    assert "summary.json" in text
    assert "google/gemma-3-270m" in text


def test_a_folder_that_is_no_run_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run's folder"):
        build_report(tmp_path)
    with pytest.raises(InputError, match="there is none"):
        build_report(tmp_path / "missing")


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_hostile_text_in_every_field_is_shown_as_text(
    number: int, plain: Page, tmp_path: Path
) -> None:
    hostile = KINDS[number]
    html = build_report(write_run(tmp_path, synthetic_run(hostile)))
    assert len(html.encode("utf-8")) <= MAX_BYTES
    page = assert_sealed(html)
    if hostile not in READABLE:
        assert "Could not be read" in " ".join(page.text)
        return
    # The same elements as with harmless text, whatever the text is.
    # (``<i>`` is our own sign for a line break in a token.)
    assert set(page.tags) - {"i"} <= set(plain.tags) | {"i"}
    if hostile and len(hostile) < 100_000:
        assert {**page.tags, "i": 0} == {**plain.tags, "i": 0}
    assert {n for _, n, _ in page.attributes} == {n for _, n, _ in plain.attributes}
    assert not re.search("[\x00\u202a-\u202e\u2066-\u2069]", html)
    if "pwned" in hostile[:150] and hostile.isprintable():
        assert hostile[:150] in " ".join(page.text)


def test_all_hostile_texts_at_once_still_make_a_sealed_page(tmp_path: Path) -> None:
    assert len(HOSTILE) >= 50
    run = synthetic_run()
    example = run["steering_examples"]["examples"][0]
    run["steering_examples"]["examples"] = [
        example | {"scenario_id": text, "prompt": text, "seed": i, "completion": text}
        for i, text in enumerate(READABLE)
    ]
    assert_sealed(build_report(write_run(tmp_path, run)))


def test_hostile_keys_are_shown_as_text(tmp_path: Path) -> None:
    run = synthetic_run()
    run["config"]["versions"] = {text: text for text in READABLE}
    run["config"]["data"] = {text: {"n": 1, "sha256": text} for text in READABLE}
    run["evidence"]["baselines"] = {text: estimate(0.5) for text in READABLE}
    run["evidence"]["not_computed"] = dict.fromkeys(READABLE, "")
    text = " ".join(assert_sealed(build_report(write_run(tmp_path, run))).text)
    assert "Could not be read" not in text


def test_a_huge_run_is_shortened_to_the_limit_and_says_so(tmp_path: Path) -> None:
    run = synthetic_run()
    example = run["steering_examples"]["examples"][0]
    example |= {"prompt": "p" * 5000, "completion": "<&>" * 2000}
    run["steering_examples"]["examples"] = [
        {**example, "scenario_id": f"s{i % 5}", "seed": i} for i in range(1500)
    ]
    html = build_report(write_run(tmp_path, run))
    assert len(html.encode()) <= MAX_BYTES
    assert "Shortened to stay below 8 MB" in html
