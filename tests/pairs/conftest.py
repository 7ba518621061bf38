"""Keys in the environment, and configurations and options that point at servers on loopback."""

import pytest
from fault_server import CONFIG
from practice import KEYS, SCENARIOS

from empathy_lens.pairs.run import GenerateOptions
from empathy_lens.vendors.config import load_config


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """Planted keys; those of the real vendors are taken away, so that no test can spend money."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    return KEYS


@pytest.fixture
def config_for(tmp_path):
    """A configuration of three vendors at one server; keywords replace lines ``name = value``."""

    def make(server, **changed):
        lines = CONFIG.format(url=server.url).splitlines()
        for name, value in changed.items():
            lines = [f"{name} = {value}" if x.startswith(f"{name} =") else x for x in lines]
        path = tmp_path / "practice.toml"
        path.write_text("\n".join(lines))
        return load_config(path)

    return make


@pytest.fixture
def options_for(config_for, tmp_path):
    """Options of a run against a server into a folder of its own."""

    def make(server, *, out="generated", changed=None, **options):
        config = config_for(server, **(changed or {}))
        return GenerateOptions(config=config, scenarios=SCENARIOS, out=tmp_path / out, **options)

    return make
