"""Runs the operation of the example plugin with `thorax op` and compares it with NumPy in float64.

python3 check.py THORAX PLUGIN.so [DEVICE ...]      (devices: cpu, sim, cuda; cpu unless given)
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np


def write(path, tensors):
    """A safetensors file: the length of a JSON header, the header, the bytes."""
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


thorax, plugin, *devices = sys.argv[1:]
random = np.random.default_rng(1)
x = random.normal(size=(3, 5, 7)).astype(np.float32) * 4
dy = random.normal(size=x.shape).astype(np.float32)
sigmoid = 1 / (1 + np.exp(-x.astype(np.float64)))
wanted = {"output": x * sigmoid, "grad.input": dy * (sigmoid + x * sigmoid * (1 - sigmoid))}
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    write(folder / "in.safetensors", {"input": x, "grad_output": dy})
    for device in devices or ["cpu"]:
        command = [thorax, "--plugin", plugin, "op", "swish", "--grad", "--device", device]
        command += ["--inputs", folder / "in.safetensors", "--output", folder / "out.safetensors"]
        subprocess.run(command, check=True)
        got = read(folder / "out.safetensors")
        for name, values in wanted.items():
            # A few roundings to float32 of sums of two terms of up to 4 |dy| or |x|.
            worst = np.max(np.abs(got[name] - values) / (1 + np.abs(x) * (1 + np.abs(dy))))
            print(f"{device} {name}: worst error {worst:.1e} of the terms")
            if not worst < 8 * 2.0**-24:
                sys.exit(f"{name} on {device} is wrong")
