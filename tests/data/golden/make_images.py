"""Small images in encodings that thorax does not write itself. Usage: make_images.py FOLDER

Every picture is v(y, x) = (5 * y + 3 * x) % 256 for 20 rows of 30, which JPEG keeps within a few levels
(the test says how many)."""
import struct
import sys
import zlib

import numpy as np
from PIL import Image

folder = sys.argv[1]
y, x = np.mgrid[0:20, 0:30]
gray = ((5 * y + 3 * x) % 256).astype(np.uint8)
smooth = (4 * y + 4 * x).astype(np.uint8)

Image.fromarray(smooth).save(f"{folder}/progressive.jpg", quality=95, progressive=True)
rgb = np.stack([smooth, smooth // 2, 200 - smooth], axis=2)
Image.fromarray(rgb).convert("CMYK").save(f"{folder}/cmyk.jpg", quality=95)
Image.fromarray(rgb).save(f"{folder}/color_progressive.jpg", quality=95, progressive=True)

# The first picture, twice as large, with a restart marker after every third block.
Image.fromarray(gray).resize((60, 40)).save(f"{folder}/restart.jpg", quality=95, restart_marker_blocks=3)

# YCCK as Photoshop writes it: luma and chroma of the inverted picture, and no black (255). Pillow writes four
# planes inverted and calls them CMYK; the Adobe marker's last byte says what they are.
planes = np.asarray(Image.fromarray(255 - rgb).convert("YCbCr"))
planes = np.concatenate([planes, np.full((20, 30, 1), 255, np.uint8)], axis=2)
Image.fromarray(255 - planes, "CMYK").save(f"{folder}/ycck.jpg", quality=95, subsampling=0)
data = bytearray(open(f"{folder}/ycck.jpg", "rb").read())
data[data.index(b"\xff\xee") + 15] = 2
open(f"{folder}/ycck.jpg", "wb").write(data)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(path, header, rows, extra=b""):
    raw = b"".join(b"\0" + r for r in rows)
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


# Gray + alpha of 16 bits: value 257 * gray, alpha 65535 * x / 29.
alpha = (65535 * x // 29).astype(">u2")
pairs = np.stack([(257 * gray.astype(np.uint32)).astype(">u2"), alpha], axis=2).astype(">u2")
png(f"{folder}/alpha16.png", struct.pack(">IIBBBBB", 30, 20, 16, 4, 0, 0, 0), [pairs[r].tobytes() for r in range(20)])

# A palette of 256 entries (i, 255 - i, 7).
palette = b"".join(bytes([i, 255 - i, 7]) for i in range(256))
png(f"{folder}/palette.png", struct.pack(">IIBBBBB", 30, 20, 8, 3, 0, 0, 0), [gray[r].tobytes() for r in range(20)], chunk(b"PLTE", palette))

# One bit a sample: (y + x) % 2.
bits = ((y + x) % 2).astype(np.uint8)
png(f"{folder}/bit1.png", struct.pack(">IIBBBBB", 30, 20, 1, 0, 0, 0, 0), [np.packbits(bits[r]).tobytes() for r in range(20)])

# Adam7 interlaced gray.
passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
rows = []
for y0, x0, dy, dx in passes:
    part = gray[y0::dy, x0::dx]
    rows += [r.tobytes() for r in part if r.size]
png(f"{folder}/interlaced.png", struct.pack(">IIBBBBB", 30, 20, 8, 0, 0, 0, 1), rows)
