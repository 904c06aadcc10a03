"""Networks as other programs write them, with every operator that thorax reads, held against onnxruntime.

  python3 tests/onnx/foreign.py make FOLDER      writes NAME.onnx and NAME.safetensors with "image"
  python3 tests/onnx/foreign.py compare FOLDER   compares NAME.thorax.safetensors, what onnx_cases computed

The bound: 32 units in the last place of the largest value in a network whose sums have at most 300 terms.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from compare import read_safetensors

random = np.random.default_rng(7)


class Graph:
    def __init__(self, channels, side):
        self.nodes, self.constants, self.count = [], [], 0
        self.image = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", channels, side, side])

    def weight(self, *shape, values=None):
        self.count += 1
        name = f"w{self.count}"
        if values is None:
            values = random.uniform(-1, 1, shape) / max(1, np.prod(shape[1:])) ** 0.5
        values = np.asarray(values)
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"v{self.count}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def conv(self, x, cin, cout, kernel, bias=True, **attributes):
        inputs = [x, self.weight(cout, cin // attributes.get("group", 1), kernel, kernel)]
        return self.node("Conv", *inputs, *([self.weight(cout)] if bias else []), **attributes)

    def batch_norm(self, x, c):
        statistics = [self.weight(c) for _ in range(3)] + [self.weight(values=random.uniform(0.5, 2, c))]
        return self.node("BatchNormalization", x, *statistics, epsilon=1e-3)

    def save(self, path, last, opset, rank):
        shape = ["n", None, None, None][:rank]
        output = helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "foreign", [self.image], [output], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def classifier(opset):
    g = Graph(3, 32)
    x = g.conv("pixels", 3, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.node("Relu", g.batch_norm(x, 8))
    y = g.conv(x, 8, 8, 3, bias=False, pads=[2, 2, 2, 2], dilations=[2, 2], group=2)
    y = g.batch_norm(g.node("Relu", y), 8)
    x = g.node("Relu", g.node("Add", y, g.conv(x, 8, 8, 1)))
    x = g.node("Dropout", x)
    x = g.node("Concat", g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
               g.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1), axis=1)
    x = g.node("Identity", g.node("Sigmoid", x))
    x = g.node("GlobalAveragePool", x)
    shape = g.node("Constant", value=numpy_helper.from_array(np.array([0, -1], np.int64)))
    x = g.node("Reshape", x, shape)
    x = g.node("Relu", g.node("Gemm", x, g.weight(16, 12), g.weight(12)))
    x = g.node("Gemm", x, g.weight(5, 12), transB=1)
    return g, g.node("Softmax", x, axis=1), 2


def segmenter(opset):
    g = Graph(1, 24)
    a = g.node("Relu", g.conv("pixels", 1, 6, 3, pads=[1, 1, 1, 1]))
    b = g.node("Relu", g.conv(g.node("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2]), 6, 6, 3, pads=[1, 1, 1, 1]))
    c = g.conv(g.node("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]), 6, 6, 1)
    up = g.node("ConvTranspose", c, g.weight(6, 6, 3, 3), g.weight(6), strides=[2, 2], pads=[1, 1, 1, 1],
                output_padding=[1, 1])
    linear = g.node("Resize", c, "", g.weight(values=np.array([1, 1, 2, 2], np.float32)), mode="linear",
                    coordinate_transformation_mode="half_pixel")
    corners = g.node("Resize", c, "", "", g.weight(values=np.array([1, 6, 12, 12], np.int64)), mode="linear",
                     coordinate_transformation_mode="align_corners")
    nearest = g.node("Resize", c, "", g.weight(values=np.array([1, 1, 2, 2], np.float32)), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    b = g.node("Relu", g.node("Sum", b, up, linear, g.node("Add", corners, nearest)))
    wide = g.node("Resize", b, "", "", g.weight(values=np.array([1, 6, 24, 24], np.int64)), mode="nearest",
                  coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = g.conv(g.node("Concat", a, wide, axis=-3), 12, 2, 3, pads=[1, 1, 1, 1])
    return g, g.node("Sigmoid", x), 4


NETWORKS = {"classifier": classifier, "segmenter": segmenter}


def make(folder):
    for opset in (13, 17, 21):
        for name, build in NETWORKS.items():
            graph, last, rank = build(opset)
            path = folder / f"{name}_{opset}.onnx"
            graph.save(path, last, opset, rank)
            side = 24 if name == "segmenter" else 32
            channels, batch = (1, 1) if name == "segmenter" else (3, 2)  # sizes of a Resize name the batch
            image = random.uniform(-1, 1, (batch, channels, side, side)).astype(np.float32)
            raw = image.tobytes()
            header = json.dumps({"image": {"dtype": "F32", "shape": image.shape, "data_offsets": [0, len(raw)]}}).encode()
            path.with_suffix(".safetensors").write_bytes(struct.pack("<Q", len(header)) + header + raw)


def compare(folder):
    files = sorted(folder.glob("*.onnx"))
    assert len(files) == 6, files
    for path in files:
        model = onnx.load(path)
        # What goes into the activation is the result that thorax gives.
        last = model.graph.node[-1]
        assert last.op_type in ("Sigmoid", "Softmax"), last
        model.graph.output[0].name = last.input[0]
        del model.graph.node[-1]
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        image = read_safetensors(path.with_suffix(".safetensors"))["image"]
        (wanted,) = session.run(None, {"pixels": image})
        got = read_safetensors(path.with_suffix(".thorax.safetensors"))["logits"]
        assert got.shape == wanted.shape, (path, got.shape, wanted.shape)
        error, largest = float(np.abs(got - wanted).max()), float(np.abs(wanted).max())
        bound = 32 * np.finfo(np.float32).eps * largest
        print(f"{path.stem:<16} largest {largest:.3g}  difference {error:.2e}  bound {bound:.2e}")
        if not error <= bound or largest == 0:
            sys.exit(f"foreign.py: thorax and onnxruntime differ on {path.name}")
    print(f"foreign.py: {len(files)} networks are read as onnxruntime reads them")


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](pathlib.Path(sys.argv[2]))
