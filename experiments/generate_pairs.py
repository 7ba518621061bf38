"""Contrastive pairs from several model families: resumable, capped in cost, checked.

    python experiments/generate_pairs.py --dry-run          # the plan and its price; needs no key
    python experiments/generate_pairs.py --pairs 90 --max-cost 2

Writes a folder (default results/runs/generated/): journal.jsonl holds every answer,
pairs.jsonl and rejected.jsonl what passed the checks and what did not, train_pairs.jsonl,
test_pairs.jsonl and dataset_summary.json the data set. Run it again to go on: nothing is asked
twice.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from empathy_lens.cli.shared import clear_errors, run_script

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "data" / "eia_scenarios" / "scenarios.json"
AGAIN = "Run the same command to go on; what was answered is in the journal."


def main(
    pairs: Annotated[int, typer.Option(help="pairs to ask for, over all runs")] = 90,
    out: Annotated[Path, typer.Option(help="folder")] = ROOT / "results" / "runs" / "generated",
    config: Annotated[Path | None, typer.Option(help="vendors, prices, limits (TOML)")] = None,
    scenarios: Annotated[Path, typer.Option(help="situations with a rubric (JSON)")] = SCENARIOS,
    prompts: Annotated[
        Path | None, typer.Option(help="concept and wordings (TOML; default: empathy)")
    ] = None,
    vendors: Annotated[str | None, typer.Option(help="only these, such as openai,gemini")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars, over all runs")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    judge: Annotated[
        list[str] | None, typer.Option(help="VENDOR[:MODEL] that cross-checks what others wrote")
    ] = None,
    max_giveaway: Annotated[
        float, typer.Option(help="highest AUROC of a bag of words on the accepted pairs")
    ] = 1.0,
    split_by: Annotated[Literal["situation", "source"], typer.Option()] = "situation",
    test_share: Annotated[float, typer.Option(help="share of the pairs to test on")] = 0.2,
    merge_shipped: Annotated[
        bool, typer.Option("--merge-shipped", help="add the shipped pairs, on their own sides")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show plan and price only")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask for pairs, check them and write a data set."""
    with clear_errors(AGAIN):
        from empathy_lens.cli.generation import print_plan, print_run
        from empathy_lens.console import progress_bars, say
        from empathy_lens.data import load_pairs
        from empathy_lens.errors import InputError
        from empathy_lens.pairs import GenerateOptions, generate, load_prompts, plan_and_price
        from empathy_lens.results import to_plain
        from empathy_lens.vendors import DEFAULT_CONFIG, MissingKeysError, load_config

        chosen = load_config(config or DEFAULT_CONFIG)
        if vendors is not None:
            chosen = chosen.only(name.strip() for name in vendors.split(","))
        shipped = [
            load_pairs(ROOT / "data" / "contrastive_pairs" / f"{side}_pairs.jsonl")
            for side in ("train", "test")
        ]
        options = GenerateOptions(
            config=chosen,
            scenarios=scenarios,
            prompts=None if prompts is None else load_prompts(prompts),
            out=out,
            n_pairs=pairs,
            seed=seed,
            max_cost_usd=max_cost,
            judges=tuple(judge or ()),
            max_giveaway=max_giveaway,
            split_by=split_by,
            test_share=test_share,
            known=(*shipped[0], *shipped[1]),
            merged=(shipped[0], shipped[1]) if merge_shipped else ((), ()),
        )
        if dry_run:
            slots, price = plan_and_price(options)
            _print_json(to_plain(price)) if as_json else print_plan(slots, price, options)
            return
        try:
            with progress_bars() as console:
                made = generate(options, console.progress("pairs"))
        except MissingKeysError as error:
            others = f", or ask them alone: --vendors {','.join(error.have)}" if error.have else ""
            raise InputError(f"{error}{others}; --dry-run needs no key") from None
        _print_json(to_plain(made.summary)) if as_json else print_run(made, options)
        for message in made.halted.values():
            say(f"warning: {message}", err=True)
        if made.halted:
            raise SystemExit(1)


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2))


if __name__ == "__main__":
    run_script(main)
