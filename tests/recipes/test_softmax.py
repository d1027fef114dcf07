from __future__ import annotations

import pytest

from dlkit.recipes import get


def test_reaches_its_target_on_digits(tmp_path):
    result = get("softmax").run(run_dir=tmp_path / "run", progress=False)
    assert result.target is not None
    assert result.target.reached(result.metrics), result.metrics
    assert (result.folder / "weights.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_reaches_its_target_on_the_large_sets(tmp_path, data_folder, data):
    result = get("softmax").run(data=data, run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics
