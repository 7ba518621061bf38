import pytest

from empathy_lens.errors import InputError
from empathy_lens.vendors import MissingKeysError, load_config, read_keys

LOCAL = """
[vendors.local]
protocol = "openai"
base_url = "http://127.0.0.1:8000/v1"
models = [{ name = "m", usd_per_million_input = 0.0, usd_per_million_output = 0 }]
"""


@pytest.fixture
def config_of(tmp_path):
    def read(text):
        path = tmp_path / "vendors.toml"
        path.write_text(text)
        return load_config(path)

    return read


def test_the_default_has_three_vendors_with_prices_and_keys_from_the_environment():
    config = load_config()
    assert list(config.vendors) == ["anthropic", "openai", "gemini"]
    for vendor in config.vendors.values():
        assert vendor.key_env.endswith("_API_KEY")
        assert vendor.base_url.startswith("https://")
        assert all(m.usd_per_million_output > 0 for m in vendor.models)


def test_a_local_server_needs_no_key(config_of):
    config = config_of(LOCAL)
    assert read_keys(config.vendors.values()) == {"local": ""}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"openai"', '"gopher"', "vendors.local.protocol: Input should be 'anthropic' or 'openai'"),
        ('protocol = "openai"', 'api_key = "sk-secret"', "keys come from the environment alone"),
        ('protocol = "openai"', 'protocl = "openai"', "protocl: Extra inputs are not permitted"),
        ("http://127", "ftp://127", "expected http"),
        ("http://127", "http://me:secret@127", "no user, password or query"),
        ("8000/v1", "8000/v1?key=sk-secret", "no user, password or query"),
        ("_input = 0.0", "_input = -1.0", "greater than or equal to 0"),
        ("_input = 0.0", "_input = inf", "finite number"),
        ("_input = 0.0", '_input = "free"', "vendors.local.models.0.usd_per_million_input"),
        (', usd_per_million_output = 0', "", "usd_per_million_output: Field required"),
        ("[vendors.local]", "[vendors.local]\nconcurrency = 0", "Input should be greater than"),
        ("[vendors.local]", "[vendors.local]\nconcurrency = true", "concurrency: Input should be"),
        ("[vendors.local]", "[limits]\ntries = 0\n[vendors.local]", "tries"),
        ("[vendors.local]", "[limit]\n[vendors.local]", "limit: Extra inputs"),
        ("models = [{", "models = {", "models: Input should be a valid array"),
        ("[vendors.local]", "[vendors.local", "not valid TOML"),
        ('protocol = "openai"', "", "protocol: Field required"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_the_place_of_the_fault(config_of, old, new, named):
    text = LOCAL.replace(old, new)
    if new == "models = {":
        text = text.replace("}]", "}")
    with pytest.raises(InputError) as error:
        config_of(text)
    assert named in str(error.value)
    assert "vendors.toml" in str(error.value)
    assert "sk-secret" not in str(error.value)


def test_a_key_goes_over_plain_http_to_local_addresses_only(config_of):
    keyed = LOCAL.replace("models", 'key_env = "K"\nmodels')
    assert config_of(keyed)
    assert config_of(keyed.replace("127.0.0.1", "192.168.0.7"))
    with pytest.raises(InputError, match="plain http"):
        config_of(keyed.replace("127.0.0.1", "api.example.com"))
    assert config_of(keyed.replace("http://127.0.0.1", "https://api.example.com"))


def test_a_missing_file_and_a_file_without_vendors_are_named(tmp_path, config_of):
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(InputError, match="vendors"):
        config_of("[limits]\n")


def test_missing_keys_are_all_named_with_the_way_round(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-here-and-secret")
    with pytest.raises(MissingKeysError) as error:
        read_keys(load_config().vendors.values())
    message = str(error.value)
    assert "ANTHROPIC_API_KEY (for anthropic)" in message
    assert "GEMINI_API_KEY (for gemini)" in message
    assert "there are keys for openai" in message
    assert error.value.have == ("openai",)
    assert "secret" not in message


def test_a_model_is_found_by_vendor_or_by_both_names():
    config = load_config()
    assert config.model("openai") == config.model("openai:gpt-4.1")
    for name in ("opneai", "openai:gpt-0", ""):
        with pytest.raises(InputError, match="openai:gpt-4"):
            config.model(name)


def test_unknown_vendors_are_refused():
    assert list(load_config().only(["gemini"]).vendors) == ["gemini"]
    for names in (["gemini", "mistrall"], []):
        with pytest.raises(InputError, match="expected vendors among"):
            load_config().only(names)
