"""Plans, runs and agreement as tables in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from ..console import shown
from ..pairs import Generated, GenerateOptions, Slot
from ..pairs.plan import Price
from ..vendors import Config, Costs


def print_plan(slots: Sequence[Slot], price: Price, options: GenerateOptions) -> None:
    """What would be asked of whom, and what it should cost."""
    console = Console()
    table = _table("Plan", "vendor", "model", "pairs", "key from")
    models = Counter((s.vendor.name, s.model.name, s.vendor.key_env) for s in slots)
    for (vendor, model, key_env), n in models.items():
        table.add_row(shown(vendor), shown(model), str(n), shown(key_env or "none needed"))
    console.print(table)
    axes = {
        "scenarios": Counter(s.scenario.id for s in slots),
        "forms": Counter(s.format for s in slots),
        "wordings": Counter(str(s.wording) for s in slots),
    }
    for name, counts in axes.items():
        console.print(
            shown(f"{name}: " + ", ".join(f"{k} {n}" for k, n in counts.items())), highlight=False
        )
    limits = options.config.limits
    cap = limits.max_cost_usd if options.max_cost_usd is None else options.max_cost_usd
    console.print(
        f"{price.calls} calls still to be made, about ${price.estimated_cost_usd:.2f} "
        f"(estimate; repairs and second tries come on top). Cap: ${cap:.2f}. Nothing was asked.",
        highlight=False,
        soft_wrap=True,
    )


def print_run(made: Generated, options: GenerateOptions) -> None:
    """What a run cost and made, and where it is."""
    console, summary = Console(), made.summary
    print_costs(console, summary.costs, options.config)
    plan, quality = summary.plan, summary.quality
    lines = [
        f"{plan.written} of {plan.n_pairs} pairs written, {plan.repaired} after a repair; "
        f"missing: {_counts(plan.missing)}",
        f"{quality.accepted} passed the checks; rejected: {_counts(quality.rejections)}",
    ]
    giveaway = quality.lexical_giveaway
    if giveaway.naive_bayes_auroc is not None:
        lines.append(
            f"a bag of words tells their sides apart with AUROC {giveaway.naive_bayes_auroc:.2f}"
            f" (0.5 is chance); most telling: {', '.join(list(giveaway.telling_words)[:6])}"
        )
    lines += [
        f"reviewers {k.reviewers[0]} and {k.reviewers[1]}: {k.same} of {k.n_pairs} "
        f"decisions alike, kappa {'undefined' if k.kappa is None else format(k.kappa, '.2f')}"
        for k in summary.review.kappas
    ]
    if made.capped:
        lines.append("stopped before the cap; raise --max-cost to go on")
    if made.unasked:
        lines.append(f"{made.unasked} pairs are still to be asked for: run the same command again")
    lines.append(f"train and test: {_counts(summary.by_split)}, in {options.out}")
    for line in lines:
        console.print(shown(line), highlight=False, soft_wrap=True)


def print_costs(console: Console, costs: Costs, config: Config) -> None:
    """Tokens, cost and failures by vendor, over all runs of a journal.

    Costs are tokens times the prices of the configuration; nobody here knows what is charged.
    """
    table = _table(
        "Asked", "vendor", "answers", "tokens in", "tokens out", "US dollars", "failures"
    )
    for name, row in costs.by_vendor.items():
        tokens = [f"{n:,}" for n in (row.answers, row.input_tokens, row.output_tokens)]
        table.add_row(shown(name), *tokens, f"{row.cost_usd:.4f}", shown(_counts(row.failures)))
    console.print(table)
    doubt = costs.calls_in_doubt
    note = f", of them {doubt} calls of killed runs at their highest price" if doubt else ""
    vendors = [config.vendors[name] for name in costs.by_vendor if name in config.vendors]
    near = [v.name for v in vendors if v.is_local]
    if near and costs.cost_usd:
        note += f"; {', '.join(near)}: a local address, play money unless it passes the calls on"
    line = f"${costs.cost_usd:.4f} in all at the configured prices{note}"
    console.print(shown(line), highlight=False, soft_wrap=True)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    return table
