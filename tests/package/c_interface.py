"""The C interface of an installed thorax against its command: probabilities to the bit, masks pixel by pixel.

    c_interface.py THORAX SEGMENTER CLASSIFIER IMAGE.npy WORK
"""
import glob
import gzip
import json
import os
import subprocess
import sys
import threading

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../apps/examples/embedding"))
from thorax_ctypes import Predictor, Segmenter, ThoraxError  # noqa: E402

thorax, segmenter, classifier, image, work = sys.argv[1:]


def command(*arguments):
    return subprocess.run([thorax, *arguments, "-q"], check=True, capture_output=True, text=True).stdout


def refused(wanted, call):
    try:
        call()
    except ThoraxError as error:
        assert wanted in str(error), f"{error!r} lacks {wanted!r}"
    else:
        raise AssertionError(f"no error {wanted!r}")


wanted = json.loads(command("predict", image, "--classifier", classifier, "--segmenter", segmenter, "--min-area", "0",
                            "--tta", "flip", "--json"))[0]
predictor = Predictor(classifier=[classifier], segmenter=[segmenter], min_area=0, tta="flip")
assert wanted["probability"] is not None
file = predictor(image)
assert json.loads(file["json"]) == wanted
pixels = np.load(image)
with open(image, "rb") as content:
    as_bytes = predictor(content.read(), "bytes")
strided = np.zeros((pixels.shape[0], 2 * pixels.shape[1]), pixels.dtype)
strided[:, ::2] = pixels
for other in (as_bytes, predictor(pixels), predictor(np.asfortranarray(pixels)), predictor(strided[:, ::2])):
    assert other["probabilities"] == file["probabilities"]
    assert other["probabilities"][wanted["positive_class"]] == wanted["probability"]
    assert np.array_equal(other["lungs"], file["lungs"])
heat = predictor(pixels, heatmap=True)["heatmap"]
assert heat.shape == pixels.shape and heat.min() >= 0 and heat.max() <= 1
assert file["heatmap"] is None

command("segment", image, "--model", segmenter, "--min-area", "0", "--out", work + "/cut", "--format", "nifti")
with gzip.open(glob.glob(work + "/cut/masks/*.nii.gz")[0]) as stored:
    mask = np.frombuffer(stored.read()[352:], np.uint8).reshape(pixels.shape)
lungs = Segmenter(model=[segmenter], min_area=0)
assert lungs.organs == ["lungs"]
found = lungs(pixels)
assert 0 < mask.sum() and np.array_equal(found["masks"]["lungs"], 255 * mask)
assert found["reason"] == "" and np.array_equal(found["masks"]["lungs"], lungs(image)["masks"]["lungs"])
blank = np.full((40, 50), 9, np.uint8)
assert "shows nothing" in lungs(blank)["reason"]
assert predictor(blank)["verdict"] == "rejected" and predictor(blank)["probabilities"] is None

refused("clasifier", lambda: Predictor(clasifier=[classifier]))
refused("no classifier", lambda: Predictor())
refused("nowhere.png", lambda: predictor("nowhere.png"))
refused("not a segmenter", lambda: Segmenter(model=[classifier]))
refused("channels", lambda: predictor(np.zeros((4, 5, 2), np.uint8)))
refused("dimensions", lambda: predictor(np.zeros(4, np.uint8)))

# Errors are those of the calling thread, results those of one caller alone.
seen = []


def work_on():
    refused("nobody.png", lambda: predictor("nobody.png"))
    seen.append(predictor(pixels)["probabilities"] == file["probabilities"])


threads = [threading.Thread(target=work_on) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert seen == [True] * 4, seen
print("c_interface.py: the C interface gives what the command gives")
