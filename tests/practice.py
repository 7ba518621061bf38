"""What the tests of vendors and pairs share: places, and keys that must never be seen anywhere."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SCENARIOS = ROOT / "data" / "eia_scenarios" / "scenarios.json"
KEYS = {
    f"EL_TEST_{name}_KEY": f"sk-planted-{name.lower()}-f00dfeed"
    for name in ("ANTHROPIC", "OPENAI", "GEMINI")
}
