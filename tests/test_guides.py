"""Every code block of the README and the guides: Python runs, commands name what exists."""

import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer
from pytest_examples import find_examples

import empathy_lens as el
from empathy_lens import cli

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "experiments" / "guides"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(GUIDES.rglob("*.md"))]
SHELL = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def with_python():
    return [d for d in DOCUMENTS if list(find_examples(d))]


loaded = cache(el.load_model)
"""Every page loads the embedded model; here it is read from disk for the first of them alone."""


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("document", with_python(), ids=lambda d: d.name)
def test_python_runs_as_it_stands(document, embedded_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(el, "load_model", loaded)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in find_examples(document):
        code = compile("\n" * (block.start_line) + block.source, str(document), "exec")
        exec(code, names)  # noqa: S102 - our own documents


def commands():
    for document in DOCUMENTS:
        for block in SHELL.findall(document.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.split(r"&&|\|(?!\|)", line.partition("  #")[0]):
                    words = shlex.split(command)
                    words = words[next((i for i, w in enumerate(words) if "=" not in w), 0) :]
                    if words and words[0].rpartition("/")[2] in ("python", "empathy-lens"):
                        yield pytest.param(words, id=f"{document.stem}: {shlex.join(words)[:60]}")


def options_of(name):
    """Every option of ``empathy-lens COMMAND`` or of a script, by its path in the repository."""
    if name.startswith("empathy-lens "):
        command = typer.main.get_command(cli.app).commands[name.partition(" ")[2]]
    else:
        spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        app = typer.Typer()
        app.command()(module.main)
        command = typer.main.get_command(app)
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("words", commands())
def test_commands_name_scripts_and_options_that_exist(words):
    target, rest = words[0].rpartition("/")[2], words[1:]
    if target == "python" and rest[0] == "-m":
        return
    name = "empathy-lens " + rest[0] if target == "empathy-lens" else rest[0]
    if name.startswith("tests/"):
        assert (ROOT / name).is_file()
        return
    known = options_of(name)
    for option in (w.partition("=")[0] for w in rest[1:] if w.startswith("--")):
        assert option in known, f"{name} has no {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_inside_the_repository_lead_somewhere(document):
    lost = [
        target
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:", "mailto:"))
        and not (document.parent / target).exists()
    ]
    assert lost == []
