"""Synthetic activations and texts with a known truth, for the tests of evidence."""

import numpy as np
import torch

from empathy_lens.types import Activations, ContrastivePair, Provenance, RubricCompletion, Site

PROVENANCE = Provenance(
    model_name="planted", weights_hash="0", dtype="float32", backend="none", transformer_lens="0"
)
WIDTH, LAYERS = 48, 3
TRUTH = np.random.default_rng(99).standard_normal(WIDTH)
TRUTH /= np.linalg.norm(TRUTH)
WORDS = [f"w{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]


def pairs(n, *, telling=False, scenarios=4, sources=1, seed=0, tags=(), prefix="p"):
    """Pairs of random words and a mark; ``telling`` sides open with words of their class."""
    rng = np.random.default_rng(seed)

    def text(word):
        opening = [word] * 6 if telling else ["so"]
        words = " ".join([*opening, *rng.choice(WORDS, size=rng.integers(15, 25))])
        return words + ("!" if words[-1] < "p" else ".")

    return tuple(
        ContrastivePair(
            pair_id=f"{prefix}{i}",
            scenario_id=f"s{i % scenarios}",
            positive=text("gently"),
            negative=text("swiftly"),
            source_model=f"m{i % sources}",
            tags=tuple(tags),
        )
        for i in range(n)
    )


def activations(some_pairs, *, gap=3.0, layers=LAYERS, planted_at=1, seed=0, axis=TRUTH):
    """Noise with sides ``gap`` sd apart along ``axis`` at one layer, and none at the others."""
    rng = np.random.default_rng(seed)
    n = len(some_pairs)
    shared = rng.standard_normal((n, 1, layers, WIDTH))
    values = shared + rng.standard_normal((n, 2, layers, WIDTH))
    values[:, :, planted_at] += np.array([gap / 2, -gap / 2])[None, :, None] * axis
    return Activations(
        values=torch.from_numpy(values.reshape(2 * n, layers, WIDTH)).float(),
        sites=tuple(Site(layer) for layer in range(layers)),
        labels=torch.tensor([True, False] * n),
        pair_ids=tuple(p.pair_id for p in some_pairs for _ in range(2)),
        scenario_ids=tuple(p.scenario_id for p in some_pairs for _ in range(2)),
        groups=tuple(p.group for p in some_pairs for _ in range(2)),
        n_tokens=(10,) * (2 * n),
        pooling="mean",
        provenance=PROVENANCE,
    )


def rubric(situations, *, gap=3.0, layers=LAYERS, planted_at=1, seed=0):
    """Scored completions, three a situation, that lie along the truth by their score."""
    rng = np.random.default_rng(seed)
    texts = [side for p in pairs(2 * situations, seed=seed) for side in (p.positive, p.negative)]
    completions = tuple(
        RubricCompletion(
            completion_id=f"r{i}",
            scenario_id=f"s{i // 3 % 4}",
            score=i % 3,
            text=texts[i],
            situation=f"situation {i // 3}",
        )
        for i in range(3 * situations)
    )
    values = rng.standard_normal((len(completions), layers, WIDTH))
    along = gap / 2 * (np.array([c.score for c in completions]) - 1)
    values[:, planted_at] += along[:, None] * TRUTH
    items = Activations(
        values=torch.from_numpy(values).float(),
        sites=tuple(Site(layer) for layer in range(layers)),
        labels=torch.tensor([c.score == 2 for c in completions]),
        pair_ids=tuple(c.completion_id for c in completions),
        scenario_ids=tuple(c.scenario_id for c in completions),
        groups=tuple(c.group for c in completions),
        n_tokens=(10,) * len(completions),
        pooling="mean",
        provenance=PROVENANCE,
        paired=False,
    )
    return items, completions
