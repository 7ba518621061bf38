"""What a card says in plain words: the figures of each claim put to its rule (``claims.py``)."""

from __future__ import annotations

from .. import stats
from .card import Evidence, Verdict
from .findings import Finding, find_all, p_text


def judge_claims(evidence: Evidence) -> tuple[Verdict, ...]:
    """A verdict for every claim about every direction of the card, in a fixed order.

    p-values are corrected by Holm over all claims that have one.
    """
    findings = find_all(evidence)
    tested = [i for i, finding in enumerate(findings) if finding.p is not None]
    p_holm: dict[int, float] = {}
    if tested:
        corrected = stats.holm([findings[i].p or 0.0 for i in tested]).tolist()
        p_holm = dict(zip(tested, corrected, strict=True))
    return tuple(_verdict(f, p_holm.get(i), evidence) for i, f in enumerate(findings))


def _verdict(finding: Finding, p_holm: float | None, e: Evidence) -> Verdict:
    ruling, because = finding.ruling(p_holm), finding.because
    if p_holm is not None:
        because += f"; {p_text(p_holm)} after Holm over the card"
    if e.overlaps and finding.on_test and ruling != "cannot tell":
        shared = len({o.second for o in e.overlaps})
        because = (
            f"{shared} of {e.n_test_pairs} test pairs overlap with train ({e.overlaps[0]}, …), so "
            f"that fit and test are on the same data; without that ({ruling}): {because}"
        )
        ruling = "cannot tell"
    of = "" if finding.of is None else finding.of.configuration
    return Verdict(finding.claim.name, ruling, because, of, finding.claim.rule, p_holm)
