"""``empathy-lens view``: text from anywhere, shown in a terminal, as a page or as data."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import HOSTILE
from rich.console import Console
from test_views_tokens import projections
from typer.testing import CliRunner

from empathy_lens.activations import extract_activations
from empathy_lens.cli.app import app
from empathy_lens.cli.view import context_needed, model_of
from empathy_lens.directions import fit_directions
from empathy_lens.directions.store import load_directions, save_directions
from empathy_lens.errors import InputError
from empathy_lens.types import ContrastivePair
from empathy_lens.views import token_text

PAIRS = [
    ContrastivePair("a", "the_maze", "I stop and help.", "I walk on.", prompt="Go?"),
    ContrastivePair("b", "the_maze", "We wait for the child.", "I take the coin."),
]


@pytest.fixture(scope="module")
def saved(tiny_gemma2: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the directions of a tiny model and its chosen layer."""
    folder = tmp_path_factory.mktemp("saved")
    directions = fit_directions(extract_activations(tiny_gemma2, PAIRS))
    save_directions(folder / "directions.safetensors", directions)
    (folder / "validation_auroc.json").write_text('{"selected_layer": 2}')
    return folder


@pytest.fixture
def view(tiny_gemma2_folder: Path, backend: str) -> Any:
    def run(*arguments: Any, stdin: str | bytes | None = None) -> Any:
        chosen = ["--model", str(tiny_gemma2_folder), "--backend", backend]
        return CliRunner().invoke(app, ["view", *map(str, arguments), *chosen], input=stdin)

    return run


def test_argument_file_and_standard_input_give_the_same(
    view: Any, saved: Path, tmp_path: Path
) -> None:
    text = "I stop, naïve 👩\u200d👧.\nThen I go."
    file = tmp_path / "text.txt"
    file.write_text(text + "\n", encoding="utf-8")
    shown = [
        view(saved, text),
        view(saved, "--file", file),
        view(saved, stdin=text + "\n"),
        view(saved, "-", stdin=text),
    ]
    assert [result.exit_code for result in shown] == [0, 0, 0, 0]
    assert len({result.stdout for result in shown}) == 1
    assert text in shown[0].stdout
    assert "layer 2" in shown[0].stdout


def test_json_holds_what_adds_up_to_the_pooled_projection(view: Any, saved: Path) -> None:
    data = json.loads(view(saved, "We wait.", "--prompt", "Go?", "--json").stdout)
    kept = [i for i, pooled in enumerate(data["pooled"]) if pooled]
    assert "".join(data["tokens"][i] for i in kept) == "We wait."
    assert data["layers"] == [0, 1, 2, 3]
    for row, pooled in zip(data["projections"], data["pooled_projections"], strict=True):
        assert sum(row[i] for i in kept) / len(kept) == pytest.approx(pooled, abs=1e-4)


def test_html_writes_a_page_with_every_layer(view: Any, saved: Path, tmp_path: Path) -> None:
    page = tmp_path / "view.html"
    result = view(saved, "We wait.", "--html", page)
    assert result.stdout.strip() == str(page)
    assert '"layers":[0,1,2,3]' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["--layer", "9"], "text", "layers 0, 1, 2, 3, not layer 9"),
        ([""], None, "the argument is empty"),
        (["a", "--file", "b"], None, "got both"),
        (["--file", "/does/not/exist"], None, "No such file"),
        ([], b"\xff\xfe", "standard input: expected UTF-8"),
    ],
)
def test_bad_input_is_one_clear_error(
    view: Any, saved: Path, arguments: list[str], stdin: Any, said: str
) -> None:
    result = view(saved, *arguments, stdin=stdin)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr


def test_several_layers_without_a_chosen_one_ask_for_a_layer(
    view: Any, saved: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "directions.safetensors"
    alone.write_bytes((saved / "directions.safetensors").read_bytes())
    result = view(alone, "text")
    assert result.exit_code == 2
    assert "choose one with --layer" in result.stderr
    assert "layer 1" in view(alone, "text", "--layer", "1").stdout


def test_the_model_is_found_from_the_direction(saved: Path) -> None:
    made = next(iter(load_directions(saved / "directions.safetensors").values())).provenance
    with pytest.raises(InputError, match="give its folder with --model"):
        model_of(made)
    assert model_of(replace(made, model_name="google/gemma-3-270m")) == "embedded:gemma3-270m"
    assert model_of(replace(made, model_name="google/gemma-2-9b")) == "google/gemma-2-9b"


def test_a_long_text_is_given_a_context_that_holds_it() -> None:
    assert context_needed("short") == 2048
    assert context_needed("word " * 4000) >= 4000


def drawn(text: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=200)
    console.print(text, soft_wrap=True)
    return out.getvalue()


def test_colours_follow_the_side_of_the_threshold() -> None:
    p = projections(["<bos>", "one", " two", " three"], layers=1)
    p.values[0] = torch.tensor([1e6, 100.0, -100.0, 0.0])
    seen = drawn(token_text(p, 0))
    blue = "48;2;64;149;197mone"
    orange = "48;2;224;134;64m two"
    assert blue in seen
    assert orange in seen
    assert "\x1b[2m<bos>" in seen
    assert "mean of 3 pooled tokens" in seen


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_text_reaches_the_terminal_as_a_control_sequence(number: int) -> None:
    p = projections(["<bos>", HOSTILE[number], "[bold]a[/bold]"], layers=1)
    plain = token_text(p, 0).plain
    assert not set(plain) & set(map(chr, [*range(9), *range(11, 32), 0x7F, *range(0x80, 0xA0)]))
    assert "[bold]a[/bold]" in plain
