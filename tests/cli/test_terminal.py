"""Texts of data, models and vendors are shown as they are: no markup, nothing that steers."""

import logging
from pathlib import Path

import pytest
from rich.console import Console

from empathy_lens.cli.doctor import print_examination
from empathy_lens.cli.generation import print_costs
from empathy_lens.cli.shared import _logging, clear_errors
from empathy_lens.console import progress_bars, say
from empathy_lens.doctor.examine import Examination
from empathy_lens.doctor.machine import Check
from empathy_lens.errors import InputError
from empathy_lens.vendors import Costs, load_config
from empathy_lens.vendors.journal import VendorCosts

HOSTILE = "[red]a\x1b[2J\x9b\u202eb"


def error():
    with pytest.raises(SystemExit), clear_errors():
        raise InputError(HOSTILE)


def missing_file():
    with pytest.raises(SystemExit), clear_errors():
        Path(f"/no/such/{HOSTILE}").read_bytes()


def log():
    with _logging(logging.WARNING):
        logging.getLogger("empathy_lens.anything").warning(HOSTILE)


def stage():
    with progress_bars() as console:
        console.announce(HOSTILE)


def examination():
    print_examination(Examination("ok", (Check("a", "ok", HOSTILE),)), Console())


def costs():
    row = VendorCosts(1, 2, 3, 0.1, {HOSTILE: 1})
    print_costs(Console(width=200), Costs({HOSTILE: row}, 0.1, 0), load_config())


@pytest.mark.parametrize(
    "show", [error, missing_file, log, stage, examination, costs, lambda: say(HOSTILE)]
)
def test_hostile_text_is_shown_and_does_nothing(show, capsys):
    show()
    printed = "".join(capsys.readouterr())
    assert "[red]a" in printed
    assert not set(printed) & set("\x1b\x9b\u202e")
