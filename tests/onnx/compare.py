"""Runs the ONNX files of a folder by onnxruntime and compares them with what thorax computed.

  python3 tests/onnx/compare.py FOLDER        the cases of onnx_cases (make_cases.cpp)

Each file passes onnx.checker with full shape inference. The bound of an element is what rounding
explains: four times the largest difference between two of thorax's own ways to the same logits (its
fastest providers, and those that keep to the definition), and 16 units in the last place of the
largest logit, for networks where the two agree by luck.
"""

import pathlib
import struct
import json
import sys

import numpy as np
import onnx
import onnxruntime


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = data[8 + length + begin : 8 + length + end]
        assert entry["dtype"] == "F32", (path, name, entry["dtype"])
        tensors[name] = np.frombuffer(raw, np.float32).reshape(entry["shape"])
    return tensors


def compare(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    case = read_safetensors(path.with_suffix(".safetensors"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == ["logits", "probability"], names
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["a", "b"]'
    largest = float(np.abs(case["logits"]).max())
    noise = float(np.abs(case["logits"] - case["reference"]).max())
    bound = 4 * noise + 16 * np.finfo(np.float32).eps * largest
    logits, probability = session.run(None, {"image": case["image"]})
    assert logits.shape == case["logits"].shape, (path, logits.shape, case["logits"].shape)
    error = float(np.abs(logits - case["logits"]).max())
    # The slope of both activations is at most 1.
    off = float(np.abs(probability - case["probability"]).max())
    # The batch is free: one image alone gives its row.
    (alone,) = session.run(["logits"], {"image": case["image"][:1]})
    single = float(np.abs(alone - case["logits"][:1]).max())
    fine = error <= bound and off <= bound + 1e-6 and single <= bound and largest > 0
    print(
        f"{path.stem:<16} {len(model.graph.node):>4} nodes  largest logit {largest:.3g}  "
        f"difference {error:.2e}  bound {bound:.2e}  {'agrees' if fine else 'DIFFERS'}"
    )
    return fine


def main():
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    if not files:
        sys.exit(f"{sys.argv[1]}: no .onnx files")
    if not all([compare(path) for path in files]):
        sys.exit("compare.py: onnxruntime and thorax differ")
    print(f"compare.py: {len(files)} networks agree (onnxruntime {onnxruntime.__version__})")


if __name__ == "__main__":
    main()
