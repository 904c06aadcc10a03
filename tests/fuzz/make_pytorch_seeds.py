#!/usr/bin/env python3
"""Writes the first files of corpus/pytorch: small files of torch.save of every shape that the reader takes. Entries are packed
again without the padding between them, so that mutations have little to look at.

Needs: pip install torch (made with torch 2.15.0).
"""
import collections
import io
import pathlib
import zipfile

import torch

OUT = pathlib.Path(__file__).resolve().parent / "corpus/pytorch"


def small(data):
    """The same entries without padding and without those that are not read."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for entry in archive.infolist():
            if entry.filename.endswith(("/data.pkl", "/byteorder")) or "/data/" in entry.filename:
                target.writestr(zipfile.ZipInfo("a/" + entry.filename.split("/", 1)[1]), archive.read(entry))
    return out.getvalue()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    ones = torch.ones(2, 1, 2, 1)
    objects = {
        "state_dict": collections.OrderedDict(w=ones, b=torch.zeros(2)),
        "plain_dict": {"w": ones.to(torch.float16), "n": torch.tensor(3)},
        "views": {"a": ones, "b": ones[1:], "c": ones.permute(3, 2, 1, 0)},
        "checkpoint": {"state_dict": {"module.w": torch.ones(1)}, "epoch": 3, "names": ["a", ("b", 2.5)]},
        "parameter": {"w": torch.nn.Parameter(torch.ones(1))},
        "module": torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm2d(1)),
    }
    for name, value in objects.items():
        for protocol in (2, 4):
            data = io.BytesIO()
            torch.save(value, data, pickle_protocol=protocol)
            (OUT / f"{name}_{protocol}").write_bytes(small(data.getvalue()))
        data = io.BytesIO()
        torch.save(value, data, _use_new_zipfile_serialization=False)
        if len(data.getvalue()) < 3000:
            (OUT / f"{name}_legacy").write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
