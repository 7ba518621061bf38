"""How does an API model score completions by the rubric, and does it agree with the shipped scores?

    python experiments/judge_completions.py --judge anthropic            # the rubric completions
    python experiments/judge_completions.py --judge openai --run results/embedded   # steered texts

Writes judge_scores.json and journal.jsonl into a folder (default results/runs/judged/). A text is
asked about once: run it again to go on.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from empathy_lens.cli.shared import clear_errors, run_script

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
AGAIN = "Run the same command to go on; what was answered is in the journal."


def main(
    judge: Annotated[str, typer.Option(help="VENDOR or VENDOR:MODEL")],
    run: Annotated[Path | None, typer.Option(help="score a run's steered texts as well")] = None,
    out: Annotated[Path, typer.Option(help="folder")] = ROOT / "results" / "runs" / "judged",
    config: Annotated[Path | None, typer.Option(help="vendors, prices, limits (TOML)")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars, over all runs")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show calls and price only")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Score texts 0, 1 or 2 with a model; report agreement with the shipped scores."""
    with clear_errors(AGAIN):
        import json

        from rich.console import Console

        from empathy_lens.cli.generation import print_costs
        from empathy_lens.console import progress_bars, say
        from empathy_lens.data import load_rubric_completions, load_scenarios
        from empathy_lens.pairs.api_judge import (
            JudgeReport,
            Score,
            Text,
            agreement,
            estimate_judging,
            judge_texts,
            steered_texts,
        )
        from empathy_lens.results import to_plain
        from empathy_lens.study.runs import Run
        from empathy_lens.types import Progress
        from empathy_lens.vendors import (
            DEFAULT_CONFIG,
            Costs,
            cost_summary,
            load_config,
            open_caller,
        )

        chosen = load_config(config or DEFAULT_CONFIG)
        vendor, model = chosen.model(judge)
        chosen = chosen.only([vendor.name])
        scenarios = load_scenarios(DATA / "eia_scenarios" / "scenarios.json")
        rubric = load_rubric_completions(DATA / "rubric_completions" / "rubric_completions.jsonl")
        texts = [Text(c.completion_id, c.scenario_id, c.prompt, c.text) for c in rubric]
        steered = {} if run is None else steered_texts(run / "steering_examples.json")
        texts += list(steered.values())
        if dry_run:
            price = estimate_judging(texts, scenarios, vendor, model, out / "journal.jsonl")
            print(json.dumps(to_plain(price), indent=2))
            return

        async def ask(progress: Progress) -> tuple[tuple[Score, ...], Costs]:
            async with open_caller(chosen, out / "journal.jsonl", max_cost_usd=max_cost) as caller:
                scores = await judge_texts(caller, judge, texts, scenarios, progress)
                return scores, cost_summary(caller.journal)

        with progress_bars() as console, Run(out, resume=True) as folder:
            folder.begin([f"{vendor.name}:{model.name}", *(vars(text) for text in texts)])
            scores, costs = asyncio.run(ask(console.progress("texts")))
            agreed = agreement(scores, rubric)
            report = JudgeReport(f"{vendor.name}:{model.name}", agreed, scores, costs)
            folder.write("judge_scores.json", report)
        if as_json:
            print(json.dumps(to_plain(report), indent=2))
            return
        terminal = Console()
        print_costs(terminal, costs, chosen)
        figures = {
            "share of equal scores": agreed.exact,
            "Cohen's kappa, quadratic weights": agreed.kappa,
            "Spearman": agreed.spearman,
        }
        for name, figure in figures.items():
            terminal.print(f"{name}: {figure or 'cannot be had'}", highlight=False)
        missing = Counter(s.missing for s in scores if s.value is None)
        why = ", ".join(f"{reason} {n}" for reason, n in sorted(missing.items())) or "none"
        say(f"{len(scores)} texts in {out}; without a score: {why}")


if __name__ == "__main__":
    run_script(main)
