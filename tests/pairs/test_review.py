import json
import sys
from dataclasses import replace

import pytest
from fault_server import FaultServer
from practice import ROOT
from typer.testing import CliRunner

from empathy_lens.cli.app import app
from empathy_lens.data import load_pairs, save_pairs
from empathy_lens.errors import InputError
from empathy_lens.pairs import generate
from empathy_lens.pairs.review import (
    Decision,
    EditedTexts,
    apply_decisions,
    edit_form,
    kappas,
    load_decisions,
    read_edit_form,
    reviews_path,
    save_decision,
    text_hash,
    undecided,
)

PAIRS = load_pairs(ROOT / "data" / "contrastive_pairs" / "test_pairs.jsonl")[:4]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    save_pairs(path, PAIRS)
    return path


def review(file, keys, reviewer="ann"):
    done = CliRunner().invoke(app, ["review", str(file), "--reviewer", reviewer], input=keys)
    assert done.exit_code == 0, done.output
    return done.output


def decision(pair, verdict="accept", reviewer="ann", **more):
    return Decision(pair.pair_id, reviewer, verdict, text_hash(pair), **more)


def verdicts(file):
    return {(d.pair_id, d.reviewer): d.verdict for d in load_decisions(reviews_path(file))}


def test_pairs_are_stepped_through_and_decisions_kept_beside_the_file(file):
    output = review(file, "a\nn\nwordy\nr\nq\n")
    assert "4 of 4 pairs to read" in output
    assert " ".join(PAIRS[0].positive.split()[:4]) in output
    assert verdicts(file) == {
        (PAIRS[0].pair_id, "ann"): "accept", (PAIRS[1].pair_id, "ann"): "reject"}  # fmt: skip
    assert load_decisions(reviews_path(file))[1].note == "wordy"
    assert load_pairs(file) == PAIRS


def test_a_review_goes_on_where_it_stopped(file):
    review(file, "a\nr\nq\n")
    output = review(file, "s\na\n")
    assert "2 of 4 pairs to read" in output
    assert set(verdicts(file)) == {(PAIRS[n].pair_id, "ann") for n in (0, 1, 3)}
    assert "1 of 4 pairs to read" in review(file, "")
    assert "4 of 4 pairs to read" in review(file, "q\n", reviewer="ben")


def test_text_cannot_steer_the_terminal_nor_pass_for_markup(file):
    save_pairs(file, [replace(PAIRS[0], positive="\x1b[2J [b]plain[/b] [/x]")])
    output = review(file, "q\n")
    assert "\x1b[2J" not in output
    assert "[b]plain[/b] [/x]" in output


def test_nothing_but_a_known_key_decides(file):
    review(file, "x\n\nyes\nq\n")
    assert verdicts(file) == {}


def test_an_edit_is_made_in_the_editor_and_applied(file, tmp_path, monkeypatch):
    script = tmp_path / "editor.py"
    script.write_text(
        "import sys, pathlib; p = pathlib.Path(sys.argv[1])\n"
        "p.write_text(p.read_text().replace('=== negative ===\\n', '=== negative ===\\nFirst: '))"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    review(file, "e\nq\n")
    (kept,) = load_decisions(reviews_path(file))
    assert kept.verdict == "edit"
    applied = apply_decisions(PAIRS, [kept])
    assert applied[0] == replace(PAIRS[0], negative="First: " + PAIRS[0].negative)
    assert applied[1:] == PAIRS[1:]


def test_a_spoilt_edit_leaves_the_pair_and_asks_again(file, tmp_path, monkeypatch):
    script = tmp_path / "editor.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('gone')")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    assert "the pair is as it was" in review(file, "e\na\nq\n").replace("\n", " ")
    assert list(verdicts(file).values()) == ["accept"]


def test_an_edit_form_gives_back_its_texts_and_refuses_a_form_without_them():
    pair = replace(PAIRS[0], positive="One.\n=== or two ===\nThree.")
    texts = EditedTexts(pair.prompt, pair.positive, pair.negative)
    assert read_edit_form(edit_form(pair)) == texts
    assert read_edit_form(edit_form(replace(pair, prompt=""))).prompt == ""
    same = edit_form(replace(pair, negative=pair.positive))
    for form in ("", edit_form(pair).replace("=== negative ===", ""), same):
        with pytest.raises(InputError, match="as it was"):
            read_edit_form(form)


def test_a_decision_holds_for_the_text_that_was_read():
    changed = replace(PAIRS[0], negative="Another text.")
    decisions = [decision(PAIRS[0], "reject")]
    assert undecided([PAIRS[0]], decisions, "ann") == ()
    assert undecided([changed], decisions, "ann") == (changed,)
    assert apply_decisions([PAIRS[0]], decisions) == ()
    assert apply_decisions([changed], decisions) == (changed,)
    moved = replace(PAIRS[0], split="train", tags=("x",))
    assert undecided([moved], decisions, "ann") == ()


def test_one_rejection_is_enough_and_the_latest_decision_of_a_reviewer_counts(tmp_path):
    path = tmp_path / "x.reviews.jsonl"
    for verdict, reviewer in (("reject", "ann"), ("accept", "ben"), ("accept", "ann")):
        save_decision(path, decision(PAIRS[0], verdict, reviewer))
    assert apply_decisions(PAIRS[:1], load_decisions(path)) == PAIRS[:1]
    save_decision(path, decision(PAIRS[0], "reject", "ben"))
    assert apply_decisions(PAIRS[:1], load_decisions(path)) == ()


def test_a_torn_last_line_is_passed_over_and_other_bad_lines_named(tmp_path):
    path = tmp_path / "x.reviews.jsonl"
    save_decision(path, decision(PAIRS[0]))
    with path.open("a") as file:
        file.write('{"pair_id": "half')
    assert len(load_decisions(path)) == 1
    save_decision(path, decision(PAIRS[1]))
    assert len(load_decisions(path)) == 2
    path.write_text(path.read_text().rstrip("\n"))  # as an editor may leave it
    save_decision(path, decision(PAIRS[2]))
    assert len(load_decisions(path)) == 3
    path.write_text('{"pair_id": 1}\n' + path.read_text())
    with pytest.raises(InputError, match=r"reviews.jsonl:1"):
        load_decisions(path)


@pytest.mark.parametrize(
    "bad", ['"verdict": "rejct"}', '"verdict": "reject", "note": null}', '"verdict": "reject"},']
)
def test_a_wrong_last_line_is_named_and_never_deleted(bad, tmp_path):
    path = tmp_path / "x.reviews.jsonl"
    save_decision(path, decision(PAIRS[0]))
    line = '{"pair_id": "p2", "reviewer": "ann", "text_hash": "x", ' + bad
    with path.open("a") as file:
        file.write(line)  # without its end of line, as an editor may leave it
    with pytest.raises(InputError, match=r"reviews.jsonl:2"):
        load_decisions(path)
    save_decision(path, decision(PAIRS[1]))
    assert line in path.read_text().splitlines()


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "perhaps"},
        {"note": 3},
        {"edited": {"prompt": "P"}},
        {"edited": "x"},
        {"more": "x"},
    ],
)
def test_a_line_that_is_no_decision_is_refused(tmp_path, changed):
    path = tmp_path / "x.reviews.jsonl"
    line = json.dumps(vars(decision(PAIRS[0])) | changed)
    path.write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"reviews\.jsonl:1: (verdict|note|edited|more)"):
        load_decisions(path)


def test_kappa_of_two_reviewers_by_hand():
    """Ann: a a a r r; Ben: a a r r e. Same 3 of 5; by chance (3·2 + 2·2 + 0) / 25 = 0.4."""
    pairs = [replace(PAIRS[0], pair_id=f"p{n}", positive=f"Text {n}.") for n in range(6)]
    ann = ["accept", "accept", "accept", "reject", "reject"]
    ben = ["accept", "accept", "reject", "reject", "edit"]
    decisions = [decision(p, v, "ann") for p, v in zip(pairs[:5], ann, strict=True)]
    decisions += [decision(p, v, "ben") for p, v in zip(pairs[:5], ben, strict=True)]
    decisions.append(decision(pairs[5], "reject", "ann"))  # Ben has not read it
    (found,) = kappas(decisions)
    assert (found.reviewers, found.n_pairs, found.same) == (("ann", "ben"), 5, 3)
    assert found.kappa == pytest.approx((0.6 - 0.4) / (1 - 0.4))
    alike = [decision(PAIRS[0], "accept", r) for r in ("ann", "ben")]
    assert kappas(alike)[0].kappa is None


def test_two_reviewers_see_their_kappa(file):
    review(file, "a\na\nr\nr\n")
    output = review(file, "a\nr\nr\nr\n", reviewer="ben")
    assert "ann and ben: 3 of 4 alike, Cohen's kappa 0.50" in output


def test_a_second_run_of_the_generation_takes_the_decisions_in(options_for):
    with FaultServer() as server:
        options = options_for(server, n_pairs=20)
        first = generate(options).summary
        accepted = load_pairs(options.out / "pairs.jsonl")
        path = reviews_path(options.out / "pairs.jsonl")
        texts = EditedTexts("B, D?", "Now I go.", "Now I stay.")
        save_decision(path, decision(accepted[0], "reject"))
        save_decision(path, decision(accepted[1], "edit", edited=texts))
        second = generate(options).summary
        assert len(server.requests) == 20
    assert second.n_pairs == first.n_pairs - 1
    assert second.review.by_verdict == {"edit": 1, "reject": 1}
    assert load_pairs(options.out / "pairs.jsonl") == accepted
    final = {p.pair_id: p for s in ("train", "test")
             for p in load_pairs(options.out / f"{s}_pairs.jsonl")}  # fmt: skip
    assert accepted[0].pair_id not in final
    assert final[accepted[1].pair_id].positive == "Now I go."


def test_a_bad_file_and_an_empty_name_are_clear_errors(file):
    for args in (["none.jsonl", "--reviewer", "ann"], [str(file), "--reviewer", " "]):
        done = CliRunner().invoke(app, ["review", *args])
        assert done.exit_code == 2
