"""Recurrent layers in ONNX Runtime, which infers only: weights as constants of the model, arrays bound once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from dlkit.study.libraries import Prepared, UnsupportedError
from dlkit.study.recurrent_workloads import Arrays, names
from dlkit.study.workloads import Workload

#: Its operator for each cell, and its order of gates by their places in PyTorch's.
_OPERATORS = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "tanh": ("RNN", (0,))}


def versions() -> dict[str, str]:
    """Return the versions in use."""
    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def prepare(workload: Workload, inputs: Arrays, options: dict[str, Any]) -> Prepared:
    """Return the workload in a session of its own, ready to run."""
    p, kind = workload.params, workload.kind
    if kind != "recurrent_forward" or p.get("layer_norm"):
        raise UnsupportedError(
            f"no {kind}{' with layer norm' * bool(p.get('layer_norm'))} for ONNX Runtime here"
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options["threads"]
    session = onnxruntime.InferenceSession(
        _model(p, inputs).SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    out = np.empty((p["steps"], p["batch"], p["directions"] * p["hidden"]), np.float32)
    binding = session.io_binding()
    given = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (inputs["x"], out)]
    binding.bind_ortvalue_input("x", given[0])
    binding.bind_ortvalue_output("out", given[1])
    return Prepared(lambda: session.run_with_iobinding(binding), lambda: {"out": np.array(given[1].numpy())})


def _model(p: dict[str, Any], a: Arrays) -> onnx.ModelProto:
    operator, order = _OPERATORS[p["cell"]]
    constants, nodes, x = [numpy_helper.from_array(np.array([0, 0, -1]), "flat")], [], "x"

    def constant(name: str, array: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def gates(array: Any) -> Any:
        return np.concatenate([np.split(array, len(order))[place] for place in order])

    for layer in range(p["layers"]):
        suffixes = [suffix for at, _, suffix in names(p) if at == layer]
        w, r = (
            constant(f"{part}{layer}", np.stack([gates(a[part + suffix]) for suffix in suffixes]))
            for part in ("weight_ih", "weight_hh")
        )
        biases = [
            np.concatenate([gates(a["bias_ih" + suffix]), gates(a["bias_hh" + suffix])])
            for suffix in suffixes
        ]
        settings: dict[str, Any] = {"hidden_size": p["hidden"]}
        settings["direction"] = "bidirectional" if p["directions"] == 2 else "forward"
        if p["cell"] == "gru":
            settings["linear_before_reset"] = 1
        last = layer == p["layers"] - 1
        y, turned, after = f"y{layer}", f"turned{layer}", "out" if last else f"x{layer + 1}"
        nodes += [
            helper.make_node(
                operator, [x, w, r, constant(f"bias{layer}", np.stack(biases))], [y], **settings
            ),
            # (T, directions, B, H) to (T, B, directions H).
            helper.make_node("Transpose", [y], [turned], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [turned, "flat"], [after]),
        ]
        x = after
    shapes = {"x": [p["steps"], p["batch"], p["inputs"]]}
    shapes["out"] = [p["steps"], p["batch"], p["directions"] * p["hidden"]]
    read, made = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])] for name in ("x", "out")
    )
    graph = helper.make_graph(nodes, "layers", read, made, constants)
    # Not the newest: any Runtime of the last years reads these.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
