from __future__ import annotations

import io
import json

import numpy as np

from dlkit.study.worker import serve
from dlkit.study.workloads import make_inputs, matmul, workloads


def _conversation(library: str, *requests: dict) -> list[dict]:
    answers = io.StringIO()
    serve(library, io.StringIO("".join(json.dumps(r) + "\n" for r in requests)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_set_up_calibrate_and_time(tmp_path):
    workload = matmul(5, 7, 3, trans_b=True)
    save = tmp_path / "out.npz"
    setup = {"command": "setup", "workload": workload.to_json(), "seed": 3, "save": str(save)}
    started, ready, calibrated, timed, released = _conversation(
        "numpy",
        {**setup, "options": {"threads": 1}},
        {"command": "calibrate", "target": 1e-4},
        {"command": "time", "inner": 10, "warm": 2},
        {"command": "release"},
    )
    assert started == ready == released == {"ok": True}
    assert calibrated["inner"] >= 1
    assert 0 < timed["seconds"] < 1
    inputs = make_inputs(workload, 3)
    with np.load(save) as found:
        np.testing.assert_allclose(found["out"], inputs["a"] @ inputs["b"].T, rtol=1e-5)


def test_what_a_library_cannot_do_is_absent_not_an_error(tmp_path):
    workload, *_ = workloads("models", quick=True)
    _, answer = _conversation(
        "numpy",
        {
            "command": "setup",
            "workload": workload.to_json(),
            "seed": 0,
            "options": {},
            "save": str(tmp_path / "x.npz"),
        },
    )
    assert answer == {"ok": False, "absent": "NumPy has no automatic differentiation"}


def test_an_unknown_command_is_an_error_and_the_worker_lives_on():
    _, failed, fine = _conversation("numpy", {"command": "nonsense"}, {"command": "release"})
    assert not failed["ok"]
    assert "nonsense" in failed["error"]
    assert fine["ok"]


def test_a_library_that_is_not_there_is_absent():
    (answer,) = _conversation("missing")
    assert answer["ok"] is False
    assert answer["absent"].startswith("not installed")
