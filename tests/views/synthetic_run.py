"""A made-up run's folder in the pipeline's format: no model, no randomness."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

SCENARIOS = ("food_delivery", "the_listener", "the_maze", "the_protector", "the_duel")


def estimate(value: float, spread: float = 0.06, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": max(value - spread, 0.0),
        "high": min(value + spread / 2, 1.0),
        "confidence": 0.95,
        "n": 60,
        "n_groups": 30,
        "method": "cluster bootstrap",
        "seed": 0,
        **more,
    }


def synthetic_run(text: str | None = None) -> dict[str, dict[str, Any]]:
    """All parts of a run. ``text`` replaces every string that comes from data or a model."""

    def t(default: str) -> str:
        return default if text is None else text

    scenarios = [t(s) + (f" #{i}" if text is not None else "") for i, s in enumerate(SCENARIOS)]
    provenance = {"model_name": t("google/gemma-3-270m"), "weights_hash": "9f" * 32}
    provenance |= {"dtype": "float32", "backend": "hooked", "weight_basis": "hub"}
    return {
        "config": {
            "command": t("python experiments/run_full_pipeline.py --model embedded --seed 0"),
            "model": t("embedded"),
            "model_name": t("google/gemma-3-270m"),
            "backend": "hooked",
            "device": "cpu",
            "dtype": "float32",
            "layers": list(range(18)),
            "pooling": "mean",
            "seed": 0,
            "pairs_train": t("data/contrastive_pairs/train_pairs.jsonl"),
            "pairs_test": t("data/contrastive_pairs/test_pairs.jsonl"),
            "rubric": t("data/rubric_completions/rubric_completions.jsonl"),
            "data": {"train": {"n": 70, "sha256": "ab" * 32}, "test": {"n": 30, "sha256": "0"}},
            "provenance": provenance,
            "versions": {"python": "3.11.9", "torch": t("2.13.0"), "transformer-lens": "3.9.0"},
        },
        "validation_auroc": _validation(t, scenarios),
        "eia_correlation": _eia(t, scenarios),
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
                {"name": t(n), "seconds": s, "peak_rss_mb": 1800.5}
                for n, s in (("load", 4.1), ("extract", 38.2), ("steer", 61.0))
            ],
            "wall_seconds": 131.25,
            "peak_rss_mb": 2210.0,
            "versions": {"python": "3.11.9"},
        },
        "token_views": _token_views(t),
        "cosines": _cosines(t),
    }


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
        "on_policy": {
            "n_episodes": 100,
            "spearman": estimate(0.31, p=0.02),
            "partial": estimate(0.22),
            "first_choice": {"auroc": estimate(0.61), "n": 100},
            "every_choice": {
                "auroc": estimate(0.58),
                "act_partial": None,
                "leaning_partial": estimate(0.27, p=0.01),
                "n": 512,
            },
            "verdicts": {"leaning": {"all": t("cannot tell"), "per_scenario": []}},
            "per_scenario": {
                s: {"spearman": estimate(0.2 + 0.1 * i) if i else None}
                for i, s in enumerate(scenarios)
            },
            "per_disposition": {
                t(name) + str(i): {
                    "spearman": estimate(0.1),
                    "every_choice": {"auroc": estimate(0.55)},
                }
                for i, name in enumerate(("kind", "ruthless"))
            },
        },
    }


def _steered_play() -> dict[str, Any]:
    return {
        "n_episodes": 25,
        "n_random": 2,
        "by_alpha": {
            str(a): {"score": estimate(1.0 + 0.1 * a), "help": estimate(0.5 + 0.05 * a)}
            for a in (-4.0, 0.0, 4.0)
        },
        "slope": {"score": estimate(0.1), "help": estimate(0.05)},
        "null": {"score": {"p": 0.03}, "help": None},
        "unsteered_controls": {"score": 0.8},
        "random": {
            "4.0": [{"score": 0.9, "help": 0.4}, {"score": 1.1, "help": 0.6}],
            "-4.0": [{"score": 1.0, "help": 0.5}],
        },
        "instruction": {"score": estimate(1.3), "help": None},
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
            "repetition": 0.05 + 0.06 * alpha * alpha,
            "action_log_odds": 0.7 * alpha - 1,
            "shift": (0.5 + 0.15 * i) * alpha + 0.1 * _wave(i) * alpha * alpha,
            "success": None if alpha == 0 else alpha > 0,
        }
        for i, scenario in enumerate(scenarios)
        for alpha in alphas
    ]
    band = {str(a): {"low": -0.6 * abs(a), "high": 0.55 * abs(a)} for a in alphas}
    settings = [
        {
            "layer": 12,
            "alpha": alpha,
            "effect": estimate(0.5 * alpha),
            "loss_increase": estimate(0.02 * alpha * alpha),
            "accuracy": estimate(0.8 - 0.01 * abs(alpha)),
            "coherent_share": 1 - 0.1 * abs(alpha),
        }
        for alpha in alphas
    ]
    return {
        "layer": 12,
        "raw_norm": 812.5,
        "alphas": alphas,
        "examples": examples,
        "dose_response": [{"alpha": s["alpha"], "shift": s["effect"]} for s in settings],
        "frontier": settings,
        "prompt_slopes": [
            {"scenario_id": s, "prompt": i, "slope": 0.5 + 0.1 * i} for i, s in enumerate(scenarios)
        ],
        "mean_slope": 0.61,
        "slope": estimate(0.61),
        "wrong_share": estimate(0.1),
        "random": {"n": 20, "share_below": 0.9, "p": 0.14, "by_alpha": band},
        "shuffled": {"n": 20, "share_below": 0.8, "by_alpha": band},
        "instruction": {"text": t("Be kind."), "shift": estimate(0.4)},
        "asymmetry": {
            "adding": estimate(0.6),
            "removing": estimate(0.8),
            "difference": estimate(-0.2),
        },
        "recommendation": {"adding": {"text": t("layer 12, alpha 1 to 2")}, "removing": None},
        "judge": {"accuracy": estimate(0.78)},
        "successes": 7,
        "out_of": 12,
        "rule": t("the shift has alpha's sign and the text stays whole"),
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
    answer = {"layer": 9, "alpha": 2.0, "works": False, "text": t("layer 9, alpha 1 to 2")}
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
        ("It beats readers of words", "not supported", "difference 0.02 [-0.03, 0.06]"),
        ("It transfers to new scenarios", "cannot tell", "four scenarios left, wide intervals"),
    )
    null = {"mean": 0.5, "sd": 0.21, "p95": 0.83, "p99": 0.9, "n": 1000}
    return {
        "headline": {
            "text": t("Probe AUROC 0.941; best baseline (bag_of_words) 0.920; difference -0.02."),
            "best_baseline": name("bag_of_words", 0),
        },
        "probe": estimate(0.941),
        "baselines": {name("bag_of_words", 0): estimate(0.92), name("length", 1): estimate(0.57)},
        "delta_vs_best_baseline": estimate(0.021),
        "nulls": {"random_directions": null, name("shuffled_labels", 0): null},
        "permutation_p_corrected": 0.002,
        "leave_one_scenario_out": {
            s: estimate(0.7 + 0.05 * i) if i else None for i, s in enumerate(scenarios)
        },
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
        },
        "contrasts": {
            name("sentiment", 0): {"auroc": estimate(0.66), "p_holm": 0.02, "cosine": 0.21},
            name("politeness", 1): {"auroc": estimate(0.52), "cosine": -0.03},
        },
        "estimators": {
            name(n, i): {
                "layer": 12 + i,
                "cv_auroc": 0.93,
                "test_auroc": estimate(0.94 - 0.02 * i),
                "stability": 0.97,
                "pooling": t("mean"),
                "p_corrected": 0.004 if i else None,
                "agreement": 0.1,
            }
            for i, n in enumerate(("mean_difference", "lda", "logistic", "pca_differences"))
        },
        "selection": {
            "estimator": t("logistic"),
            "pooling": t("last"),
            "layer": 14,
            "n_tried": 144,
            "cv_auroc": 0.95,
            "nested_auroc": estimate(0.9),
            "test_auroc": estimate(0.91),
            "p": 0.001,
            "over_headline": estimate(0.03),
            "gains": {"naive_bayes": estimate(0.01), "length": None},
        },
        "verdicts": [{"claim": t(c), "verdict": v, "because": t(b)} for c, v, b in verdicts],
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


def _token_views(t: Any) -> dict[str, Any]:
    words = "<bos>|You| see| the| courier|.|\n\n|I| stop|,| kneel| and| ask| if| he| is| hurt|.|"
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
            for title, side in (("best pair", "empathic"), ("most wrong pair", "task-focused"))
        ],
    }
