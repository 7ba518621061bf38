import pytest

from empathy_lens.study.runs import RUNS, default_folder


@pytest.mark.parametrize("model", [".", "..", "../..", "/", "../x", "/a/b", "a/../../b", "a/x"])
def test_a_model_of_any_name_has_a_folder_of_its_own_below_the_runs(tmp_path, model):
    folder = default_folder(model, tmp_path).resolve()
    assert folder.parent == (tmp_path / RUNS).resolve()
