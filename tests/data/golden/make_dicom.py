"""Small DICOM files of synthetic pixels and what pydicom makes of them. Usage: make_dicom.py FOLDER

Needs pydicom, numpy, imagecodecs (JPEG 2000) and, on the PATH, dcmtk's dcmcjpeg, dcmcjpls, dcmcrle and dcmconv.
expected.json: of each file and each --intensity the brightness 0..1 of its pixels, by apply_modality_lut and
apply_voi_lut over the range of their output. No value comes from a patient."""
import json
import os
import subprocess
import sys

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless,
                         generate_uid)

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
ROWS, COLUMNS = 8, 12
y, x = np.mgrid[0:ROWS, 0:COLUMNS]
ramp = (y * COLUMNS + x) / (ROWS * COLUMNS - 1.0)
expected = {}


def dataset(name, pixels, bits, photometric="MONOCHROME2", frames=1, **elements):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["thorax", name])
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = generate_uid(entropy_srcs=["thorax"])
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["thorax", "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["thorax", "series"])
    ds.Modality = "CR"
    ds.PatientID = "phantom-1"
    ds.PatientName = "Phantom"
    ds.Rows, ds.Columns = pixels.shape[frames > 1:][:2]
    ds.SamplesPerPixel = 3 if photometric in ("RGB", "YBR_FULL") else 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    for key, value in elements.items():
        setattr(ds, key, value)
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"
    return ds


def limits(ds):
    """The least and the largest stored value."""
    if ds.PixelRepresentation:
        return -(1 << (ds.BitsStored - 1)), (1 << (ds.BitsStored - 1)) - 1
    return 0, (1 << ds.BitsStored) - 1


def modality_range(ds):
    if "ModalityLUTSequence" in ds:
        return 0, (1 << ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    low, high = limits(ds)
    if "RescaleSlope" in ds:
        return sorted((low * float(ds.RescaleSlope) + float(ds.RescaleIntercept),
                       high * float(ds.RescaleSlope) + float(ds.RescaleIntercept)))
    return low, high


def shown(ds, values, low, high):
    out = (values.astype(np.float64) - low) / (high - low)
    return 1 - out if ds.PhotometricInterpretation == "MONOCHROME1" else out


def of_window(ds, index):
    arr = apply_modality_lut(ds.pixel_array, ds)
    if "VOILUTSequence" in ds:
        low, high = 0, (1 << ds.VOILUTSequence[index].LUTDescriptor[2]) - 1
    else:
        low, high = modality_range(ds)
        if "RescaleSlope" in ds and float(ds.RescaleSlope) < 0:
            low, high = high, low  # as apply_voi_lut has them: the window's output is 0..1 between the two
    return shown(ds, apply_voi_lut(arr, ds, index=index), low, high)


def of_stored(ds):
    return shown(ds, apply_modality_lut(ds.pixel_array, ds), *modality_range(ds))


def keep(name, ds, values, path=None):
    if path is None:
        ds.save_as(f"{folder}/{name}.dcm", enforce_file_format=True)
    expected[name] = {k: [round(float(v), 7) for v in np.asarray(a).ravel()] for k, a in values.items()}


# Bit depths, signs, photometric interpretations, windows.
for photometric in ("MONOCHROME1", "MONOCHROME2"):
    for bits, kind in ((8, "u1"), (8, "i1"), (10, "u2"), (12, "u2"), (12, "i2"), (16, "u2"), (16, "i2")):
        low = -(1 << (bits - 1)) if kind[0] == "i" else 0
        pixels = np.round(low + ramp * ((1 << bits) - 1)).astype(kind)
        tag = f"{'m1' if photometric[-1] == '1' else 'm2'}_{kind}_{bits}"
        ds = dataset(tag, pixels, bits, photometric)
        keep(tag, ds, {"depth": of_stored(ds), "full": of_stored(ds), "stored": of_stored(ds)})
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        for rescaled in (False, True):
            pixels = np.round(ramp * 4095).astype("u2")
            more = {"RescaleSlope": "0.5", "RescaleIntercept": "-1024", "RescaleType": "US"} if rescaled else {}
            centre, width = (["-300", "0"], ["700", "1"]) if rescaled else (["1500", "2048"], ["1000", "4096"])
            tag = f"window_{'m1' if photometric[-1] == '1' else 'm2'}_{function.lower()}{'_rescaled' if rescaled else ''}"
            ds = dataset(tag, pixels, 12, photometric, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function,
                         **more)
            keep(tag, ds, {"depth": of_window(ds, 0), "window2": of_window(ds, 1), "stored": of_stored(ds),
                           "full": of_stored(ds)})

ds = dataset("negative_slope", np.round(ramp * 1023).astype("u2"), 10, RescaleSlope="-2", RescaleIntercept="2046",
             RescaleType="US")
keep("negative_slope", ds, {"depth": of_stored(ds)})
ds = dataset("signed_window", np.round(-2048 + ramp * 4095).astype("i2"), 12, WindowCenter="-100", WindowWidth="800")
keep("signed_window", ds, {"depth": of_window(ds, 0), "stored": of_stored(ds)})
# 12-bit values in a file that says 16: read as 12-bit.
ds = dataset("undeclared_12", np.round(ramp * 4095).astype("u2"), 16)
keep("undeclared_12", ds, {"depth": shown(ds, ds.pixel_array, 0, 4095), "full": of_stored(ds)})
# Overlay bits above the high bit, values in bits 2 to 13.
values = np.round(ramp * 4095).astype("u2")
ds = dataset("high_bit", (values << 2 | 0xC001).astype("u2"), 12, HighBit=13)
keep("high_bit", ds, {"depth": values / 4095.0})


def lut(first, entries, bits, **more):
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = [int(v) for v in entries]
    item["LUTData"].VR = "US"
    for key, value in more.items():
        setattr(item, key, value)
    return item


curve = np.round(np.linspace(0, 1, 256) ** 2 * 1023)
ds = dataset("modality_lut", np.round(ramp * 300).astype("u2"), 12,
             ModalityLUTSequence=[lut(20, 64 * curve, 16, ModalityLUTType="OD")])
keep("modality_lut", ds, {"depth": of_stored(ds), "full": of_stored(ds)})
ds = dataset("modality_lut_window", np.round(ramp * 300).astype("u2"), 12, WindowCenter="20000", WindowWidth="30000",
             ModalityLUTSequence=[lut(20, 64 * curve, 16, ModalityLUTType="OD")])
keep("modality_lut_window", ds, {"depth": of_window(ds, 0)})
for photometric in ("MONOCHROME1", "MONOCHROME2"):
    tag = f"voi_lut_{'m1' if photometric[-1] == '1' else 'm2'}"
    ds = dataset(tag, np.round(ramp * 1000).astype("u2"), 10, photometric,
                 VOILUTSequence=[lut(100, curve, 10), lut(300, np.arange(0, 4096, 16), 12)])
    keep(tag, ds, {"depth": of_window(ds, 0), "window2": of_window(ds, 1), "stored": of_stored(ds)})
ds = dataset("voi_lut_signed", np.round(-512 + ramp * 1023).astype("i2"), 10, VOILUTSequence=[lut(-200, curve, 10)])
keep("voi_lut_signed", ds, {"depth": of_window(ds, 0)})

# Padding: shown as the darkest of the rest.
for photometric in ("MONOCHROME1", "MONOCHROME2"):
    tag = f"padding_{'m1' if photometric[-1] == '1' else 'm2'}"
    values = np.round(1000 + ramp * 2000).astype("u2")
    outside = (x < 2) | (y == 7)
    pixels = np.where(outside, 4095, values).astype("u2")
    ds = dataset(tag, pixels, 12, photometric, PixelPaddingValue=4095)
    inside = np.where(outside, values[~outside].max() if photometric[-1] == "1" else values[~outside].min(), values)
    keep(tag, ds, {"depth": shown(ds, inside, 0, 4095)})

# Orientation: the patient's left towards the left, the head below.
for sides, turn in (("R\\F", lambda a: a[:, ::-1]), ("L\\H", lambda a: a[::-1]), ("R\\H", lambda a: a[::-1, ::-1]),
                    ("F\\L", lambda a: a.T), ("F\\R", lambda a: np.rot90(a, -1)), ("H\\L", lambda a: np.rot90(a)),
                    ("H\\R", lambda a: np.rot90(a.T, 2))):
    tag = "oriented_" + sides.replace("\\", "").lower()
    ds = dataset(tag, np.round(ramp * 255).astype("u1"), 8, PatientOrientation=sides.split("\\"))
    keep(tag, ds, {"depth": turn(of_stored(ds))})

# Frames, colour, palette.
frames = np.stack([np.round(ramp * 1000 + 1000 * i) for i in range(3)]).astype("u2")
ds = dataset("frames", frames, 12, frames=3)
keep("frames", ds, {"depth": frames[0] / 4095.0, "#2": frames[1] / 4095.0, "#3": frames[2] / 4095.0})
ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
keep("frames_rle", ds, {"depth": frames[0] / 4095.0, "#2": frames[1] / 4095.0, "#3": frames[2] / 4095.0})
rgb = np.stack([np.round(ramp * 255), np.round(255 - ramp * 255), np.full(ramp.shape, 80)], axis=2).astype("u1")
luma = (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]) / 255
keep("rgb", dataset("rgb", rgb, 8, "RGB"), {"depth": luma})
packed = dataset("rgb_rle", rgb, 8, "RGB")
packed.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
keep("rgb_rle", packed, {"depth": luma})
keep("rgb_planar", dataset("rgb_planar", np.ascontiguousarray(np.moveaxis(rgb, 2, 0)).reshape(rgb.shape), 8, "RGB",
                           PlanarConfiguration=1), {"depth": luma})
index = (np.arange(ROWS * COLUMNS) % 7).reshape(ROWS, COLUMNS).astype("u1")
colours = [[0, 65535, 30000, 10000, 20000, 40000, 50000], [0, 65535, 20000, 50000, 30000, 10000, 40000],
           [0, 65535, 10000, 60000, 50000, 20000, 30000]]
ds = dataset("palette", index, 8, "PALETTE COLOR")
for colour, entries in zip(("Red", "Green", "Blue"), colours):
    setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [7, 0, 16])
    setattr(ds, f"{colour}PaletteColorLookupTableData", np.array(entries, "<u2").tobytes())
r, g, b = (np.array(c)[index] >> 8 for c in colours)
keep("palette", ds, {"depth": (0.299 * r + 0.587 * g + 0.114 * b) / 255})

# Transfer syntaxes, of an 8-bit and a 12-bit file.
plain = {8: dataset("plain8", np.round(ramp * 255).astype("u1"), 8),
         12: dataset("plain12", np.round(ramp * 4095).astype("u2"), 12)}
for bits, ds in plain.items():
    source = f"{folder}/plain{bits}.dcm"
    keep(f"plain{bits}", ds, {"depth": of_stored(ds)})
    tools = {"rle": ["dcmcrle"], "jpeg_lossless": ["dcmcjpeg", "+e1"], "jpeg_process14": ["dcmcjpeg", "+el"],
             "jpegls": ["dcmcjpls", "+el"], "implicit": ["dcmconv", "+ti"], "big": ["dcmconv", "+tb"],
             "deflated": ["dcmconv", "+td"], "no_header": ["dcmconv", "-F", "+ti"]}
    tools["jpeg_baseline" if bits == 8 else "jpeg_extended"] = ["dcmcjpeg", "+eb" if bits == 8 else "+ee", "+q", "100", "+un"]
    for tag, tool in tools.items():
        path = f"{folder}/plain{bits}_{tag}.dcm"
        subprocess.run(tool + [source, path], check=True)
        values = of_stored(ds)
        keep(f"plain{bits}_{tag}", ds, {"depth": values}, path)
    other = dataset(f"plain{bits}", ds.pixel_array, bits)
    code = imagecodecs.jpeg2k_encode(ds.pixel_array, codecformat="j2k", reversible=True, resolutions=1,
                                     bitspersample=bits, mct=False)
    other.file_meta.TransferSyntaxUID = JPEG2000Lossless
    other.PixelData = encapsulate([code])
    other["PixelData"].VR = "OB"
    other["PixelData"].is_undefined_length = True
    keep(f"plain{bits}_jpeg2000", other, {"depth": of_stored(ds)})

with open(f"{folder}/expected.json", "w") as out:
    json.dump(expected, out, separators=(",", ":"), sort_keys=True)
    out.write("\n")
