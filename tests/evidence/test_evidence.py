import json
from dataclasses import replace

import numpy as np
import planted
import pytest
import torch

from empathy_lens.directions import fit_direction
from empathy_lens.errors import InputError, NonFiniteError
from empathy_lens.evidence import BASELINES, Behaviour, Draws, StudyData, evidence_card
from empathy_lens.results import to_plain
from empathy_lens.types import Estimate

CHEAP = {"n_random": 200, "n_permutations": 200, "n_resamples": 500}
TRAIN, TEST = planted.pairs(48, sources=2), planted.pairs(40, seed=1, prefix="t")
ESTIMATE_KEYS = {"value", "low", "high", "confidence", "n", "n_groups", "method", "seed"}
OTHER = np.roll(planted.TRUTH, 7)


def gather(train_pairs=TRAIN, test_pairs=TEST, *, gap=3.0, train=None, test=None, **options):
    train = planted.activations(train_pairs, gap=gap) if train is None else train
    test = planted.activations(test_pairs, gap=gap, seed=1) if test is None else test
    options = {"estimators": ("mean_difference",), **CHEAP, **options}

    def take(kind):
        return {k: options.pop(k) for k in kind.__dataclass_fields__ if k in options}

    behaviour, draws = Behaviour(**take(Behaviour)), Draws(**take(Draws))
    data = StudyData(train, test, train_pairs, test_pairs, **take(StudyData))
    return evidence_card(data, options.pop("layer", 1), behaviour=behaviour, draws=draws, **options)


def verdicts(evidence):
    return {v.claim: v.verdict for v in evidence.verdicts}


def because(evidence, claim):
    return next(v.because for v in evidence.verdicts if v.claim == claim)


@pytest.fixture(scope="module")
def full():
    """Everything given, the planted direction being real and nothing else."""
    kinds = [planted.pairs(10, seed=s, tags=("hard", k), prefix=k) for s, k in enumerate("ab")]
    hard_pairs = kinds[0] + kinds[1] + planted.pairs(2, seed=5, tags=("hard", "c"), prefix="c")
    neutral = planted.pairs(40, scenarios=1, seed=7, prefix="n")
    return gather(
        hard=(planted.activations(hard_pairs, seed=2), hard_pairs),
        contrasts={
            "sentiment": planted.activations(neutral, gap=0.0, seed=3),
            "task_focus": planted.activations(neutral, seed=4),
            "politeness": planted.activations(neutral, seed=5, axis=OTHER - OTHER @ planted.TRUTH),
        },
        masked=(planted.activations(TEST, seed=6), 10),
        rubric=planted.rubric(30, seed=8),
        steering={
            "layer": 1,
            "moves": {
                "slope": to_plain(Estimate(0.1, 0.05, 0.15, 0.95, 30, 30, "made up", p=1e-4)),
                "n_prompts": 30,
                "n_random": 20,
                "minimal_detectable": 0.07,
                "p_random": 1 / 21,
                "monotone": True,
                "alphas": [-4.0, 4.0],
            },
        },
        estimators=("mean_difference", "pca_differences"),
    )


def test_a_planted_direction_is_supported(full):
    found = verdicts(full)
    for claim in (
        "separates the classes",
        "separates better than random directions",
        "beyond words",
        "holds with the telling words masked",
        "holds where words and deeds part",
        "holds in scenarios it never saw",
        "agrees with the rubric",
        "moves behaviour",
    ):
        assert found[claim] == "supported", because(full, claim)


def test_what_the_direction_sees_is_told_from_what_it_does_not(full):
    found = verdicts(full)
    assert found["is not sentiment"] == "supported", because(full, "is not sentiment")
    assert found["is not lack of task focus"] == "refuted"
    assert found["is not verbosity"] == "cannot tell"
    task, mood = full.contrasts["task_focus"], full.contrasts["sentiment"]
    assert task.cosine > 0.5 > abs(mood.cosine)
    assert task.cosine > task.cosine_p95
    assert abs(mood.cosine) < mood.cosine_p95 * 1.5
    assert task.own_direction.value > 0.9
    assert task.gain.low <= 0 <= task.gain.high


def test_random_activations_support_nothing_and_rule_out_nothing():
    neutral = planted.activations(planted.pairs(24, scenarios=1, prefix="n"), gap=0.0, seed=3)
    found = verdicts(gather(gap=0.0, contrasts={"sentiment": neutral}))
    assert "supported" not in found.values()
    assert found["is not sentiment"] == "cannot tell"


@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_where_words_alone_separate_the_classes_nothing_is_beyond_them(gap):
    telling = {"telling": True, "scenarios": 4}
    train, test = planted.pairs(48, **telling), planted.pairs(40, seed=1, prefix="t", **telling)
    evidence = gather(train, test, gap=gap)
    assert evidence.baselines["naive_bayes"].value == 1.0
    assert verdicts(evidence)["beyond words"] == "cannot tell"
    assert "words alone separate" in because(evidence, "beyond words")


def test_a_perfect_probe_beside_nearly_perfect_words_is_not_called_beyond_them():
    """The interval of the difference may exclude 0 here; the set still has no room for more."""
    train, test = (
        planted.pairs(n, telling=True, seed=s, prefix=str(s)) for s, n in enumerate((60, 100))
    )
    plain = planted.pairs(100, seed=1, prefix="1")
    mixed = tuple(b if i % 8 == 0 else a for i, (a, b) in enumerate(zip(test, plain, strict=True)))
    evidence = gather(train, mixed, gap=8.0)
    assert evidence.baselines["naive_bayes"].value > 0.9
    assert evidence.delta_vs_best_baseline.low > 0
    assert verdicts(evidence)["beyond words"] == "cannot tell"


def test_every_key_of_the_schema_is_there_and_every_figure_is_an_estimate(full):
    card = json.loads(json.dumps(to_plain(full), allow_nan=False))
    for name in ("probe", "paired_accuracy", "d_z", "given_words", "rubric_given_words"):
        assert set(card[name]) >= ESTIMATE_KEYS - {"seed"} | {"p"}, name
    assert 0 < card["selectivity"]["selectivity"] < 1
    assert set(card["minimal_detectable"]) == {"auroc", "gain", "gap_ratio", "slope"}
    assert list(card["baselines"]) == list(BASELINES)
    assert all(set(one) == ESTIMATE_KEYS | {"p"} for one in card["baselines"].values())
    assert set(card["delta_vs_best_baseline"]) == ESTIMATE_KEYS | {"p"}
    for null in ("random_directions", "shuffled_labels"):
        assert {"mean", "sd", "p95", "p99", "n"} <= set(card["nulls"][null])
    assert 0 < card["permutation_p_corrected"] <= 1
    assert set(card["leave_one_scenario_out"]) == {"s0", "s1", "s2", "s3"}
    assert set(card["leave_one_source_out"]) == {"m0", "m1"}
    assert set(card["leave_one_source_out_mean"]) == ESTIMATE_KEYS | {"p"}
    assert set(card["leave_one_format_out"]) == {"unknown"}
    assert set(card["lexically_ablated"]) >= {"n_words", "auroc", "baselines", "gains"}
    assert 0 < card["contrasts"]["sentiment"]["p_holm"] <= 1
    assert set(card["hard_pairs"]["by_kind"]) == {"a", "b", "c"}
    assert {"auroc", "cosine", "equivalence"} <= set(card["contrasts"]["sentiment"])
    assert 0 < card["hard_pairs"]["sign_flip_p"] <= 1
    assert set(card["estimators"]) == {"mean_difference", "pca_differences"}
    for row in card["estimators"].values():
        assert {"layer", "cv_auroc", "test_auroc", "stability"} <= set(row)
        assert row["layer"] == 1
        assert 0 < row["p"] <= row["p_corrected"] <= 1
    keys = {"claim", "verdict", "because", "configuration", "rule", "p_holm"}
    assert all(set(v) == keys for v in card["verdicts"])
    about = [(v["configuration"], v["claim"]) for v in card["verdicts"]]
    assert len(set(about)) == len(about)
    assert card["headline"]["text"] in str(full)


def test_the_headline_compares_with_the_reader_that_folds_of_train_choose(full):
    known = {name: auroc for name, auroc in full.reader.cv_auroc.items() if auroc is not None}
    best = max(known, key=known.__getitem__)
    assert full.headline.best_baseline == full.reader.name == best
    difference = full.probe.value - full.baselines[best].value
    assert full.delta_vs_best_baseline.value == pytest.approx(difference)


def test_every_source_and_format_is_left_out_in_turn():
    formats = ("plan", "dialogue", "action_log")
    train = tuple(
        replace(p, source_model=f"m{i % 4}", format=formats[i % 3])
        for i, p in enumerate(planted.pairs(72))
    )
    card = gather(train)
    assert set(card.leave_one_source_out) == {"m0", "m1", "m2", "m3"}
    assert set(card.leave_one_format_out) == set(formats)
    for what in ("leave_one_source_out", "leave_one_format_out"):
        assert all(one.low > 0.5 for one in getattr(card, what).values())
        assert getattr(card, f"{what}_mean").low > 0.5
    turned = planted.activations(train)
    values = turned.values.clone()
    last = torch.tensor([i // 2 % 3 == 2 for i in range(len(values))])
    values[last] = -values[last]
    odd = gather(train, train=replace(turned, values=values))
    assert (
        odd.leave_one_format_out["action_log"].high < 0.5 < odd.leave_one_format_out["plan"].value
    )


def test_small_n_is_named_in_the_verdict():
    few = planted.pairs(10, seed=1, prefix="t")
    evidence = gather(test_pairs=few)
    assert "n = 10 situations (few: below 12" in because(evidence, "separates the classes")
    assert "few" not in because(gather(), "separates the classes")


def test_three_test_pairs_give_no_figure():
    evidence = gather(test_pairs=TEST[:3])
    assert evidence.probe is None
    assert set(evidence.baselines.values()) == {None}
    found = verdicts(evidence)
    assert found["separates the classes"] == found["beyond words"] == "cannot tell"
    assert "at least 6 situations" in because(evidence, "separates the classes")


def test_one_scenario_cannot_tell_of_others():
    train, test = planted.pairs(48, scenarios=1), planted.pairs(40, scenarios=1, seed=1, prefix="t")
    evidence = gather(train, test, token_embed=lambda texts: [[len(t), 1.0] for t in texts])
    assert evidence.leave_one_scenario_out == {"s0": None}
    assert verdicts(evidence)["holds in scenarios it never saw"] == "cannot tell"
    assert verdicts(evidence)["separates the classes"] == "supported"


def test_two_scenarios_have_figures_but_no_verdict():
    train = planted.pairs(48, scenarios=2)
    evidence = gather(train)
    assert all(evidence.leave_one_scenario_out.values())
    assert evidence.leave_one_scenario_out_mean.low > 0.5
    assert verdicts(evidence)["holds in scenarios it never saw"] == "cannot tell"


def test_one_class_or_constant_activations_cannot_tell():
    train, test = planted.activations(TRAIN), planted.activations(TEST, seed=1)
    positives = [train.select(train.labels), test.select(test.labels)]
    constants = [replace(a, values=torch.full_like(a.values, 0.1)) for a in (train, test)]
    for a in (positives[0], constants[0]):
        evidence = gather(train=a, test=test)
        assert set(verdicts(evidence).values()) == {"cannot tell"}
        assert "direction" in evidence.not_computed
    for b in (positives[1], constants[1]):
        found = verdicts(gather(train=train, test=b))
        assert found.pop("holds in scenarios it never saw") == "supported"  # read on train only
        assert set(found.values()) == {"cannot tell"}


def test_one_situation_cannot_tell():
    one = tuple(replace(p, scenario_id="s", situation="same") for p in TRAIN)
    same = tuple(replace(p, scenario_id="s", situation="same") for p in TEST)
    evidence = gather(one, same)
    assert set(verdicts(evidence).values()) == {"cannot tell"}
    assert evidence.permutation_p_corrected is None
    assert "situations" in evidence.not_computed["permutation_p_corrected"]


def test_nan_is_refused_and_located():
    train = planted.activations(TRAIN)
    train.values[3, 1, 5] = float("nan")
    with pytest.raises(NonFiniteError, match=r"train: .*'p1' at layer 1, channel 5"):
        gather(train=train)


def test_activations_of_other_pairs_or_models_are_refused():
    with pytest.raises(InputError, match="differing pair_ids"):
        gather(test=planted.activations(TRAIN[:40]))
    other = replace(planted.PROVENANCE, weights_hash="1")
    with pytest.raises(InputError, match="fit a direction on this model"):
        gather(test=replace(planted.activations(TEST), provenance=other))
    with pytest.raises(InputError, match="layer 9 was not extracted"):
        gather(layer=9)


def test_the_order_of_the_items_changes_no_figure():
    order = torch.randperm(len(TEST), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = tuple(TEST[i] for i in order)
    a, b = gather(), gather(test_pairs=shuffled, test=planted.activations(TEST, seed=1))
    assert a.baselines == b.baselines
    assert a.probe == b.probe


def test_the_probe_is_the_direction_fitted_on_train():
    train, test = planted.activations(TRAIN), planted.activations(TEST, seed=1)
    direction = fit_direction(train, 1)
    assert direction.vector.numpy() @ planted.TRUTH > 0.8
    scores = direction.project(test.at(1)).numpy()
    wins = scores[0::2][:, None] > scores[1::2]
    assert gather().probe.value == pytest.approx(wins.mean())


def test_a_callable_estimator_is_named_on_the_card():
    def first_pair(positive, negative):
        return positive[0] - negative[0]

    assert gather(estimator=first_pair).estimator == "first_pair"
