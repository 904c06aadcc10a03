"""What TensorBoard's own reader finds in the event files of `thorax runs --tensorboard` is what the run folder says.

    python3 compare.py RUN EVENTS    a finished `kfold classifier` of two classes, and its folder of event files
"""
import csv
import json
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.pr_curve import plugin_data_pb2
from tensorboard.util import tensor_util


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


run, out = map(pathlib.Path, sys.argv[1:])
checked = 0

whole = read(out)
text = tensor_util.make_ndarray(whole.Tensors("configuration")[0].tensor_proto).item().decode()
assert json.loads(text)["command"] == "kfold classifier", text[:200]
assert whole.SummaryMetadata("configuration").plugin_data.plugin_name == "text"
pictures = whole.Tags()["images"]
assert "crossval/roc" in pictures, pictures
for tag in pictures:
    image = whole.Images(tag)[0]
    assert image.encoded_image_string[:4] == b"\x89PNG" and image.width > 0 and image.height > 0, tag

for fold in sorted(run.glob("fold_*")):
    events = read(out / fold.name)
    for line in (fold / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        for metric, tag in {"train_loss": "train/loss", "loss": "validation/loss", "auc": "validation/auc"}.items():
            found = [e.value for e in events.Scalars(tag) if e.step == line["epoch"]]
            assert found == [np.float32(line[metric])], (fold, tag, line["epoch"], found)
            checked += 1

    rows = list(csv.DictReader((fold / "predictions.csv").open()))
    label = np.array([int(r["label"]) for r in rows])
    score = np.array([float(r["probability"]) for r in rows])
    tag = json.loads((fold / "result.json").read_text())["positive"]
    metadata = events.SummaryMetadata(tag).plugin_data
    assert metadata.plugin_name == "pr_curves"
    content = plugin_data_pb2.PrCurvePluginData.FromString(metadata.content)
    curve = tensor_util.make_ndarray(events.Tensors(tag)[0].tensor_proto)
    assert curve.shape == (6, content.num_thresholds)
    for i, threshold in enumerate(np.arange(content.num_thresholds) / (content.num_thresholds - 1)):
        # Thresholds as the bins are cut: a score at an edge belongs above it.
        called = np.floor(score * (content.num_thresholds - 1)) >= i
        tp, fp = (called & (label == 1)).sum(), (called & (label == 0)).sum()
        fn, tn = (label == 1).sum() - tp, (label == 0).sum() - fp
        wanted = [tp, fp, tn, fn, tp / (tp + fp) if tp + fp else 0, tp / (tp + fn) if tp + fn else 0]
        assert np.array_equal(curve[:, i], np.array(wanted, np.float32)), (threshold, curve[:, i], wanted)
        checked += 1

assert checked > 100
print(f"compare.py: {checked} values and {len(pictures)} pictures are as TensorBoard reads them")
