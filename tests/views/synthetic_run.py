"""A made-up run's folder in the pipeline's format: no model, no randomness."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from empathy_lens.results import from_plain
from empathy_lens.types import Concept
from empathy_lens.views.run_results import KINDS, RunResults

SCENARIOS = ("food_delivery", "the_listener", "the_maze", "the_protector", "the_duel")


def estimate(value: float, spread: float = 0.06, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": min(max(value - spread, 0.0), value),
        "high": max(min(value + spread / 2, 1.0), value),
        "confidence": 0.95,
        "n": 60,
        "n_groups": 30,
        "method": "cluster bootstrap",
        "seed": 0,
        **more,
    }


def synthetic_run(
    text: str | None = None, concept: Concept | None = None
) -> dict[str, dict[str, Any]]:
    """All parts of a run. ``text`` replaces every string that comes from data or a model.

    Without a ``concept`` the run is as old as the runs that do not name theirs.
    """

    def t(default: str) -> str:
        return default if text is None else text

    scenarios = [t(s) + (f" #{i}" if text is not None else "") for i, s in enumerate(SCENARIOS)]
    provenance = {"model_name": t("google/gemma-3-270m"), "weights_hash": "9f" * 32}
    provenance |= {"dtype": "float32", "backend": "hooked", "transformer_lens": "3.9.0"}
    on_policy = _on_policy(t)
    run = {
        "config": {
            "command": t("python experiments/run_full_pipeline.py --model embedded --seed 0"),
            "model": t("embedded"),
            "model_name": t("google/gemma-3-270m"),
            "backend": "hooked",
            "device": "cpu",
            "dtype": "float32",
            "layers": list(range(18)),
            "pooling": "mean",
            "poolings_compared": ["mean", "last"],
            "embedding": "none",
            "seed": 0,
            "pairs_train": t("data/contrastive_pairs/train_pairs.jsonl"),
            "pairs_test": t("data/contrastive_pairs/test_pairs.jsonl"),
            "rubric": t("data/rubric_completions/rubric_completions.jsonl"),
            "data": {"train": {"n": 70, "sha256": "ab" * 32}, "test": {"n": 30, "sha256": "0"}},
            "provenance": provenance,
            "versions": {"python": "3.11.9", "torch": t("2.13.0"), "transformer-lens": "3.9.0"},
        },
        "validation_auroc": _validation(t, scenarios),
        "eia_correlation": _eia(t, scenarios) | {"on_policy": on_policy},
        "on_policy": on_policy,
        "steered_play": _steered_play(),
        "steering_examples": _steering(t, scenarios),
        "steering_sweep": _sweep(t, scenarios),
        "evidence": _evidence(t, scenarios),
        "summary": {
            "selected_layer": 12,
            "criteria": [
                {
                    "level": level,
                    "name": t(name),
                    "value": value,
                    "met": met,
                    "detail": t("held-out pairs"),
                }
                for level, name, value, met in (
                    ("minimum", "AUROC > 0.75", 0.941, True),
                    ("target", "Pearson r > 0.5", 0.41, False),
                    ("stretch", "AUROC > 0.9 on a second model", None, None),
                )
            ],
            "stages": [
                {"name": t(n), "seconds": s, "peak_rss_mb": 1800.5, "resumed": False}
                for n, s in (("load", 4.1), ("extract", 38.2), ("steer", 61.0))
            ],
            "wall_seconds": 131.25,
            "peak_rss_mb": 2210.0,
            "versions": {"python": "3.11.9"},
        },
        "token_views": _token_views(t, concept),
        "cosines": _cosines(t),
    }
    if concept is not None:
        run["config"]["concept"] = asdict(concept)
    return run


def results(run: dict[str, dict[str, Any]]) -> RunResults:
    """The parts as their types."""
    return RunResults(**{name: from_plain(data, KINDS[name], name) for name, data in run.items()})


def write_run(folder: Path, run: dict[str, dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, data in run.items():
        (folder / f"{part}.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def _wave(i: int) -> float:
    return math.sin(i * 2.399)


def _validation(t: Any, scenarios: list[str]) -> dict[str, Any]:
    layers = {
        str(layer): {
            "auroc": estimate(0.6 + 0.36 * math.sin(layer / 7.5)),
            "accuracy": estimate(0.55 + 0.3 * math.sin(layer / 7.5)),
            "separation": estimate(0.8),
            "cv_auroc": 0.62 + 0.34 * math.sin(layer / 7.5),
            "raw_norm": 7.0 * 1.38**layer,
        }
        for layer in range(18)
    }
    projections = [
        {
            "pair_id": t(f"pair-{i:03d}"),
            "scenario_id": scenarios[i % 5],
            "label": label,
            "projection": (0.5 if label else -0.5) + 0.5 * _wave(i + 31 * label),
            "text": t("I stop and help the courier up before I ride on. " * 3),
        }
        for i in range(30)
        for label in (True, False)
    ]
    selection = t("largest cross-validated AUROC on the training pairs")
    return {
        "selected_layer": 12,
        "selection": selection,
        "estimator": "mean_difference",
        "layers": layers,
        "projections": projections,
    }


def _eia(t: Any, scenarios: list[str]) -> dict[str, Any]:
    items = [
        {
            "completion_id": t(f"rubric-{i:03d}"),
            "scenario_id": scenarios[i % 5],
            "score": i % 3,
            "projection": 0.45 * (i % 3) - 0.5 + 0.4 * _wave(i),
        }
        for i in range(90)
    ]
    return {
        "selected_layer": 12,
        "rubric": {
            "pearson": estimate(0.61, p=0.0004),
            "kendall": estimate(0.41, p=0.0004),
            "partial": None,
            "spearman": estimate(0.58, p=0.001),
            "binary_accuracy": estimate(0.83),
            "per_scenario": {
                s: {
                    "spearman": estimate(0.5) if i else None,
                    "n": 18,
                    "mean_by_score": {"0": -0.5, "1": -0.03, "2": 0.42},
                }
                for i, s in enumerate(scenarios)
            },
            "items": items,
        },
    }


def _on_policy(t: Any) -> dict[str, Any]:
    def association(auroc: float, act: float | None, n: int) -> dict[str, Any]:
        return {
            "auroc": estimate(auroc),
            "act_partial": None if act is None else estimate(act, p=0.01),
            "leaning": None,
            "leaning_partial": None,
            "n": n,
            "helped": n // 3,
        }

    def part(spearman: float | None) -> dict[str, Any]:
        return {
            "n_episodes": 20,
            "spearman": None if spearman is None else estimate(spearman),
            "partial": None,
            "first_choice": association(0.6, None, 20),
            "every_choice": association(0.55, None, 100),
        }

    scored = {"episodes": 20, "mean_score": 1.0, "counts": {"1": 20}}
    ruling = {"against": "what follows", "all": "cannot tell"}
    ruling |= {"per_scenario": {}, "per_disposition": {}}
    return {
        "model": t("google/gemma-3-270m"),
        "choice": {"how": "score", "temperature": 1.0, "calibrated": False},
        "seed": 0,
        "n_episodes": 100,
        "spearman": estimate(0.31, p=0.02),
        "partial": estimate(0.22),
        "first_choice": association(0.61, None, 100),
        "every_choice": association(0.58, 0.27, 512),
        # Games are known by name: a file that names another is refused.
        "per_scenario": {s: part(0.2 + 0.1 * i if i else None) for i, s in enumerate(SCENARIOS)},
        "per_disposition": {
            t(name) + str(i): part(0.1) for i, name in enumerate(("kind", "ruthless"))
        },
        "layer_of_fold": [12, 12, 9],
        "verdicts": {"leaning": ruling, "act": ruling, "score": ruling},
        "finding": t("The projection before a choice tells nothing."),
        "played": {
            "episodes": 100,
            "decisions": 512,
            "flagged": 0,
            "per_scenario": dict.fromkeys(SCENARIOS, scored),
            "per_disposition": {},
        },
    }


def _steered_play() -> dict[str, Any]:
    null = {"direction": 0.1, "random": [0.02, 0.01], "p": 0.03}
    return {
        "layer": 12,
        "raw_norm": 812.5,
        "n_episodes": 25,
        "n_control_episodes": 5,
        "n_random": 2,
        "alphas": [-4.0, 0.0, 4.0],
        "by_alpha": {
            str(a): {
                "score": estimate(1.0 + 0.1 * a),
                "help": estimate(0.5 + 0.05 * a),
                "per_scenario": {"the_duel": 1.0},
            }
            for a in (-4.0, 0.0, 4.0)
        },
        "slope": {"score": estimate(0.1), "help": estimate(0.05)},
        "null": {"score": null, "help": null},
        "unsteered_controls": {"score": 0.8, "help": 0.5},
        "random": {
            "4.0": [{"score": 0.9, "help": 0.4}, {"score": 1.1, "help": 0.6}],
            "-4.0": [{"score": 1.0, "help": 0.5}],
        },
        "instruction": {
            "score": estimate(1.3),
            "help": None,
            "per_scenario": {"the_duel": 1.0},
            "text": "Be kind.",
        },
    }


def _steering(t: Any, scenarios: list[str]) -> dict[str, Any]:
    alphas = [-2.0, -1.0, 0.0, 1.0, 2.0]
    examples = [
        {
            "scenario_id": scenario,
            "prompt": t("You are the delivery agent. Another courier has crashed. " * 4),
            "alpha": alpha,
            "seed": 0,
            "completion": t(f"At alpha {alpha} I look around, weigh the time left, and act. " * 4),
            "finished": alpha != 2.0,
            "coherence": {
                "n_words": 40,
                "perplexity": 9.5,
                "repetition": 0.05,
                "distinct": 0.9,
                "truncated": False,
            },
            "repetition": 0.05 + 0.06 * alpha * alpha,
            "coherent": True,
            "judged": 0.4 + 0.1 * alpha,
            "moved": None if alpha == 0 else True,
            "action_log_odds": 0.7 * alpha - 1,
            "shift": (0.5 + 0.15 * i) * alpha + 0.1 * _wave(i) * alpha * alpha,
            "success": None if alpha == 0 else alpha > 0,
        }
        for i, scenario in enumerate(scenarios)
        for alpha in alphas
    ]
    controls: dict[str, Any] = {"n": 20, "mean_slopes": [0.1] * 20}
    controls["by_alpha"] = {str(a): {"low": -0.6 * abs(a), "high": 0.55 * abs(a)} for a in alphas}
    settings = [
        {
            "layer": 12,
            "alpha": alpha,
            "effect": estimate(0.5 * alpha),
            "loss_increase": estimate(0.02 * alpha * alpha),
            "accuracy": estimate(0.8 - 0.01 * abs(alpha)),
            "coherent_share": 1 - 0.1 * abs(alpha),
            "within": True,
        }
        for alpha in alphas
    ]
    return {
        "layer": 12,
        "raw_norm": 812.5,
        "layers": [12],
        "alphas": alphas,
        "prompts": {"choosing": 5, "reporting": 10},
        "examples": examples,
        "dose_response": [{"alpha": s["alpha"], "shift": s["effect"]} for s in settings],
        "frontier": settings,
        "prompt_slopes": [
            {"scenario_id": s, "prompt": i, "slope": 0.5 + 0.1 * i} for i, s in enumerate(scenarios)
        ],
        "log_odds_slope": dict.fromkeys(scenarios, 0.5),
        "mean_slope": 0.61,
        "slope": estimate(0.61),
        "wrong_share": estimate(0.1),
        "random": controls | {"share_below": 0.9, "p": 0.14},
        "shuffled": controls | {"share_below": 0.8},
        "instruction": {"text": t("Be kind."), "shift": estimate(0.4)},
        "asymmetry": {
            "adding": estimate(0.6),
            "removing": estimate(0.8),
            "difference": estimate(-0.2),
        },
        "recommendation": {
            "adding": _recommended(12, t("layer 12, alpha 1 to 2")),
            "removing": None,
        },
        "judge": {name: estimate(0.78) for name in ("accuracy", "auroc", "spearman")},
        "judged": 20,
        "moved": 20,
        "moved_and_coherent": 19,
        "moved_rule": t("the judge finds the text moved"),
        "successes": 7,
        "out_of": 12,
        "rule": t("the shift has alpha's sign and the text stays whole"),
        "moves": {
            "alphas": [-2.0, 2.0],
            "slope": estimate(0.61) | {"p": 0.004},
            "p_random": 0.125,
            "n_random": 7,
            "p_controls": 0.25,
            "n_controls": 11,
            "monotone": False,
            "n_prompts": 30,
            "minimal_detectable": None,
        },
    }


def _recommended(layer: int, text: str) -> dict[str, Any]:
    return {
        "layer": layer,
        "alpha": 2.0,
        "alphas": [1.0, 2.0],
        "effect": estimate(0.5),
        "loss_increase": estimate(0.02),
        "accuracy_change": estimate(0.0),
        "share_beyond": 0.9,
        "shuffled_share_beyond": None,
        "instruction": estimate(0.4),
        "n_choosing": 5,
        "n_reporting": 10,
        "held_out": True,
        "works": False,
        "text": text,
    }


def _sweep(t: Any, scenarios: list[str]) -> dict[str, Any]:
    """The steering of layer 12 as one of 18: stronger in the middle, costly at the ends."""
    layers, whole = list(range(18)), _steering(t, scenarios)
    settings = [
        {
            "layer": layer,
            "alpha": alpha,
            "effect": estimate((0.5 - 0.05 * abs(layer - 9)) * alpha),
            "loss_increase": estimate((0.01 + 0.002 * abs(layer - 9)) * alpha * alpha),
            "accuracy": estimate(0.8 - 0.01 * abs(alpha)),
            "coherent_share": None,
            "within": abs(alpha) < 2 or 4 < layer < 14,
        }
        for layer in layers
        for alpha in whole["alphas"]
    ]
    answer = _recommended(9, t("layer 9, alpha 1 to 2"))
    return whole | {
        "layers": layers,
        "frontier": settings,
        "recommendation": {"adding": answer, "removing": None},
    }


def _evidence(t: Any, scenarios: list[str]) -> dict[str, Any]:
    def name(default: str, i: int) -> str:
        value = t(default)
        return value if value == default else f"{value} #{i}"

    verdicts = (
        ("The direction tells the classes apart", "supported", "AUROC 0.94 [0.88, 0.97]"),
        ("It beats readers of words", "refuted", "difference 0.02 [-0.03, 0.06]"),
        ("It transfers to new scenarios", "cannot tell", "four scenarios left, wide intervals"),
    )
    null = {"mean": 0.5, "sd": 0.21, "p95": 0.83, "p99": 0.9, "n": 1000, "p": 0.002}
    null["what"] = t("test AUROC of random directions")
    contrast = {"cosine_p95": 0.1, "own_direction": estimate(0.8), "gain": None}
    contrast |= {"equivalence": estimate(0.2), "sign_flip_p": 0.3, "pairs_needed": 60}
    return {
        "headline": {
            "text": t("Probe AUROC 0.941; best baseline (bag_of_words) 0.920; difference -0.02."),
            "best_baseline": name("bag_of_words", 0),
        },
        "layer": 12,
        "estimator": "mean_difference",
        "pooling": "mean",
        "n_train_pairs": 70,
        "n_test_pairs": 30,
        "probe": estimate(0.941),
        "paired_accuracy": estimate(0.95),
        "d_z": estimate(0.9),
        "selectivity": {"selectivity": 0.43, "control": null},
        "minimal_detectable": {
            name("auroc", 0): {"effect": 0.14, "n": 20, "wanted": 0.1, "n_needed": 41}
        },
        "baselines": {name("bag_of_words", 0): estimate(0.92), name("length", 1): estimate(0.57)},
        "delta_vs_best_baseline": estimate(0.021),
        "delta_vs_baselines": {name("bag_of_words", 0): estimate(0.021)},
        "nulls": {
            "random_directions": null,
            "shuffled_labels": null,
            "other_contrasts": {name("sentiment", 0): estimate(0.6)},
        },
        "permutation_p_corrected": 0.002,
        "leave_one_scenario_out": {
            s: estimate(0.7 + 0.05 * i) if i else None for i, s in enumerate(scenarios)
        },
        "leave_one_scenario_out_mean": estimate(0.8),
        "leave_one_source_out_mean": None,
        "leave_one_format_out_mean": None,
        "leave_one_source_out": {name("claude", 0): estimate(0.6), name("gpt", 1): estimate(0.5)},
        "leave_one_format_out": {
            name("plan", 0): estimate(0.62),
            name("dialogue", 1): estimate(0.7),
        },
        "lexically_ablated": {
            "n_words": 50,
            "auroc": estimate(0.71),
            "baselines": {name("bag_of_words", 0): estimate(0.55)},
            "gains": {name("bag_of_words", 0): estimate(0.16)},
        },
        "hard_pairs": {
            "all": estimate(0.64),
            "by_kind": {
                name("warm_words_task_deed", 0): estimate(0.41),
                name("cold_words_kind_deed", 1): estimate(0.71),
            },
            "baselines": {name("bag_of_words", 0): estimate(0.4)},
            "gains": {name("bag_of_words", 0): None},
        },
        "contrasts": {
            name("sentiment", 0): contrast
            | {"auroc": estimate(0.66), "p_holm": 0.02, "cosine": 0.21},
            name("politeness", 1): contrast
            | {"auroc": estimate(0.52), "p_holm": None, "cosine": -0.03},
        },
        "estimators": {
            name(n, i): {
                "estimator": t(n),
                "layer": 12 + i,
                "p": 0.001,
                "cv_auroc": 0.93,
                "test_auroc": estimate(0.94 - 0.02 * i),
                "stability": 0.97,
                "pooling": "mean",
                "p_corrected": 0.004 if i else None,
                "agreement": 0.1,
            }
            for i, n in enumerate(("mean_difference", "lda", "logistic", "pca_differences"))
        },
        "selection": {
            "estimator": t("logistic"),
            "pooling": "last",
            "layer": 14,
            "n_tried": 144,
            "cv_auroc": 0.95,
            "nested_auroc": estimate(0.9),
            "test_auroc": estimate(0.91),
            "p": 0.001,
            "over_headline": estimate(0.03),
            "gains": {"naive_bayes": estimate(0.01), "length": None},
        },
        "rubric": estimate(0.58),
        "rubric_partial": None,
        "steering": None,
        "verdicts": [
            {
                "claim": t(c),
                "verdict": v,
                "because": t(b),
                "configuration": "mean_difference, layer 12, mean pooling",
                "rule": t("the whole interval lies above"),
                "p_holm": None,
            }
            for c, v, b in verdicts
        ],
        "not_computed": {name("embedding", 0): t("not asked for")},
    }


def _cosines(t: Any) -> dict[str, Any]:
    layers = list(range(18))
    return {
        "layers": layers,
        "across_layers": [[0.9 ** abs(i - j) for j in layers] for i in layers],
        "contrasts": {
            t(name) + f" {k}": [
                {"cosine": 0.4 * _wave(i + k), "shuffled_p95": 0.2} if i else None for i in layers
            ]
            for k, name in enumerate(("sentiment", "politeness"))
        },
    }


def _token_views(t: Any, concept: Concept | None) -> dict[str, Any]:
    words = "<bos>|You| see| the| courier|.|\n\n|I| stop|,| kneel| and| ask| if| he| is| hurt|.|"
    poles = (concept.positive, concept.negative) if concept else ("empathic", "task-focused")
    tokens = [*words.split("|")[:-1], "", " 👩", "\u200d", "👧"]
    values = [9.0] + [0.9 * _wave(i) for i in range(1, len(tokens))]
    return {
        "layer": 12,
        "layers": [6, 12],
        "examples": [
            {
                "title": t(title),
                "pair_id": t("pair-007"),
                "side": side,
                "tokens": [t(token) for token in tokens],
                "values": [[v / 2 for v in values], values],
                "pooled": [i > 6 for i in range(len(tokens))],
                "bos": [i == 0 for i in range(len(tokens))],
            }
            for title, side in zip(("best pair", "most wrong pair"), poles, strict=True)
        ],
    }
