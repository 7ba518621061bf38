"""Options of a generation that asks a server on loopback."""

import pytest
from practice import SCENARIOS

from empathy_lens.pairs import GenerateOptions


@pytest.fixture
def options_for(config_for, tmp_path):
    """Options of a run against a server into a folder of its own."""

    def make(server, *, out="generated", changed=None, **options):
        config = config_for(server, **(changed or {}))
        return GenerateOptions(config=config, scenarios=SCENARIOS, out=tmp_path / out, **options)

    return make
