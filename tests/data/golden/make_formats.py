"""Writes formats/: files of other formats by tifffile, Pillow, nibabel and NumPy.

All show the same 13 rows x 17 columns: pixel (y, x) has the number 17 y + x, times what the type
allows (see tests/data/formats/*_test.cpp). Run: python3 make_formats.py (tifffile 2026.3,
Pillow 13.0, nibabel 5.4, NumPy 2; imagecodecs for 12 bits, LZW and PackBits).
"""
import pathlib
import struct

import nibabel
import numpy as np
import tifffile
from PIL import Image

out = pathlib.Path(__file__).parent / "formats"
out.mkdir(exist_ok=True)
n = np.arange(13 * 17).reshape(13, 17)
g8, g12, g16 = n.astype("u1"), (n * 18).astype("u2"), (n * 297).astype("u2")
rgb = np.stack([n, 220 - n, n // 2], -1).astype("u1")


def tiff(name, a, **options):
    tifffile.imwrite(out / name, a, metadata=None, software=False, **options)


tiff("gray8.tif", g8)
tiff("gray8_lzw.tif", g8, compression="lzw", rowsperstrip=4)
tiff("gray8_packbits.tif", g8, compression="packbits")
tiff("gray16_deflate_be.tif", g16, compression="zlib", predictor=True, byteorder=">")
tiff("gray16_tiles_big.tif", g16, tile=(16, 16), bigtiff=True)

# No library at hand packs 12 bits: rows of whole bytes, the highest bits first.
rows = np.unpackbits(g12.astype(">u2").view("u1").reshape(13, 17, 2), axis=-1)[..., 4:].reshape(13, -1)
packed = np.packbits(rows, axis=-1).tobytes()
tags = [(256, 17), (257, 13), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 13), (279, len(packed))]
directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags) + bytes(4)
(out / "gray12.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + directory)
tiff("gray12_in_16.tif", g12)
tiff("white_is_zero8.tif", 255 - g8, photometric="miniswhite")
tiff("white_is_zero12_in_16.tif", 4095 - g12, photometric="miniswhite")
tiff("rgb.tif", rgb, photometric="rgb")
tiff("rgb_planes.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
tiff("rgba_tiles.tif", np.dstack([rgb, np.full_like(g8, 9)]), photometric="rgb",
     extrasamples=["unassalpha"], tile=(16, 16))
tiff("real.tif", (n / 220).astype("f4"))
tiff("real_wide.tif", (n * 10. - 1000).astype("f8"))
tiff("signed16.tif", (n - 110).astype("i2"))
tiff("whole32.tif", n.astype("u4"))
tiff("orientation6.tif", g8, extratags=[(274, 3, 1, 6, True)])
with tifffile.TiffWriter(out / "pages.tif") as writer:
    for page in (g8, 255 - g8):
        writer.write(page, metadata=None, software=False, contiguous=False)
bits = Image.fromarray((n % 3 == 0).astype("u1") * 255).convert("1")
bits.save(out / "bit1_g4.tif", compression="group4")
bits.save(out / "bit1.tif")
palette = Image.fromarray(g8).convert("P")
palette.putpalette([v for i in range(256) for v in (i, 255 - i, i // 2)])
palette.save(out / "palette.tif")
smooth = np.clip(np.add.outer(np.arange(48) * 2, np.arange(64)), 0, 255).astype("u1")
Image.fromarray(np.stack([smooth, smooth, smooth], -1)).save(out / "jpeg_ycc.tif", compression="jpeg", quality=95)

np.save(out / "u1.npy", g8)
np.save(out / "u2_be.npy", g12.astype(">u2"))
np.save(out / "i2_fortran.npy", np.asfortranarray(g12.astype("i2")))
np.save(out / "i2_negative.npy", (n - 110).astype("i2"))
np.save(out / "f4.npy", (n / 220).astype("f4"))
np.save(out / "f8_whole.npy", n.astype("f8"))
np.save(out / "bool.npy", n % 3 == 0)
np.save(out / "rgb.npy", rgb)
np.save(out / "rgb_fortran.npy", np.asfortranarray(rgb))
np.save(out / "column.npy", g8[:, :, None])
np.save(out / "labels_i8.npy", (n % 4).astype("i8"))
with open(out / "version2.npy", "wb") as file:
    np.lib.format.write_array(file, g8, version=(2, 0))
np.savez(out / "one.npz", g8)
np.savez_compressed(out / "packed.npz", image=g8, mask=(n % 4).astype("u1"), other=n)


def nifti(name, a, kind=nibabel.Nifti1Image, affine=np.diag([-1., -1., 1., 1.]), big=False, scale=None):
    header = kind.header_class(endianness=">") if big else kind.header_class()
    image = kind(a, affine, header)
    image.header.set_data_dtype(a.dtype)
    if scale:
        image.header.set_slope_inter(*scale)
    nibabel.save(image, out / name)


labels = (n % 4).astype("u1")
nifti("labels.nii.gz", labels.T)
nifti("labels_slice_i16.nii", labels.T[:, :, None].astype("i2"))
nifti("labels_be.nii", labels.T.astype("i2"), big=True)
nifti("labels_f8_two.nii.gz", labels.T.astype("f8"), kind=nibabel.Nifti2Image)
nifti("turned.nii.gz", g8.T, affine=np.eye(4))
nifti("real.nii.gz", (n.T / 220).astype("f4"))
nifti("volume.nii.gz", np.zeros((4, 5, 6), "u1"))
