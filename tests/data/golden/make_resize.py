"""Antialiased resize by PyTorch, for tests/data/image_test.cpp. Usage: make_resize.py OUT"""
import sys
import torch
import torch.nn.functional as F

sizes = [(1, 12, 20), (1, 37, 19), (1, 64, 80), (1, 9, 53), (1, 5, 5), (3, 14, 90), (1, 1, 1)]
with open(sys.argv[1], "wb") as out:
    for channels, height, width in sizes:
        c, y, x = torch.meshgrid(torch.arange(channels), torch.arange(37), torch.arange(53), indexing="ij")
        image = ((y * 31 + x * 17 + c * 7) % 101).float() / 100
        scaled = F.interpolate(image[None], size=(height, width), mode="bilinear", antialias=True)[0]
        out.write(scaled.permute(1, 2, 0).contiguous().numpy().astype("<f4").tobytes())
