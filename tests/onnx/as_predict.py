"""Compares an exported classifier with the rows of `thorax predict --json`, for images of the network's own
size, which are not resized.

  python3 tests/onnx/as_predict.py NET.onnx PREDICT.json
"""

import json
import pathlib
import sys
import zlib

import numpy as np
import onnxruntime


def read_gray_png(path):
    """8-bit gray, not interlaced, as `thorax data phantoms` writes: no imaging library is needed."""
    data = pathlib.Path(path).read_bytes()
    at, packed = 8, b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            assert body[8:] == bytes([8, 0, 0, 0, 0]), (path, body)
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width + 1)
    image, above = np.zeros((height, width), np.int64), np.zeros(width, np.int64)
    for y, (kind, *values) in enumerate(rows.tolist()):
        left = corner = 0
        for x, value in enumerate(values):
            up = int(above[x])
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda v: abs(guess - v))
            left = (value + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
            corner = up
            image[y, x] = left
        above = image[y]
    return image.astype(np.float32) / 255


def main():
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    rows = json.loads(pathlib.Path(sys.argv[2]).read_text())
    assert rows, sys.argv[2]
    worst = 0.0
    for row in rows:
        image = read_gray_png(row["image"])
        (probability,) = session.run(["probability"], {"image": image[None, None]})
        worst = max(worst, abs(float(probability[0, 0]) - row["probability"]))
    print(f"as_predict.py: {len(rows)} images, largest difference of a probability {worst:.2e}")
    # A probability's slope in the logit is at most 1/4; the logits agree to about 1e-5 (compare.py).
    if worst > 1e-5:
        sys.exit("as_predict.py: the exported network does not say what `thorax predict` says")


if __name__ == "__main__":
    main()
