"""The study's networks and its baselines in PyTorch: the peer to outrun and the oracle to agree with."""
import os

import torch
from torch import nn
from torch.nn import functional as F

import hashfill


class DoubleConv(nn.Module):
    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class Up(nn.Module):
    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(cin, cout, 2, stride=2)
        self.conv1 = nn.Conv2d(2 * cout, cout, 3, padding=1)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)

    def forward(self, x, skip):
        x = torch.cat([self.up(x), skip], 1)  # order: upsampled, then skip
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class UNet(nn.Module):
    """Table 4 of the study: no batch norm, biases everywhere, logits out (the sigmoid is in the loss).

    Input N x in_channels x H x W with H and W multiples of 2**depth. width=32, depth=4: 7,759,521 parameters.
    """

    def __init__(self, width: int = 32, depth: int = 4, in_channels: int = 1, out_channels: int = 1):
        super().__init__()
        widths = [width << i for i in range(depth + 1)]
        self.down = nn.ModuleList(DoubleConv(([in_channels] + widths)[i], widths[i]) for i in range(depth))
        self.bottom = DoubleConv(widths[depth - 1], widths[depth])
        self.up = nn.ModuleList(Up(widths[depth - i], widths[depth - i - 1]) for i in range(depth))
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, x):
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for block in self.up:
            x = block(x, skips.pop())
        return self.head(x)


HRNETS = ("hrnet_w18", "hrnet_w32", "hrnet_w48", "hrnet_w18_small_v2")
BASELINES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet169", "densenet201")
NAMES = ("unet", *HRNETS, *BASELINES)
COUNTS = {"unet": 7_759_521, "hrnet_w18": 21_299_004, "hrnet_w32": 41_232_680, "hrnet_w48": 77_469_864, "resnet18": 11_689_512,
          "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160, "resnet152": 60_192_808, "densenet121": 7_978_856,
          "densenet169": 14_149_480, "densenet201": 20_013_928}


def dice_loss(logits, target, per_image: bool = False, eps: float = 0.0):
    """1 - (2 sum p g + eps) / (sum p^2 + sum g^2 + eps); p = sigmoid(logits). Sums over the batch, or per image then the mean."""
    p, g = torch.sigmoid(logits), target
    axes = tuple(range(1, p.dim())) if per_image else tuple(range(p.dim()))
    return (1 - (2 * (p * g).sum(axes) + eps) / ((p * p).sum(axes) + (g * g).sum(axes) + eps)).mean()


def build(name: str, num_classes: int | None = None) -> nn.Module:
    """One of NAMES; all but `unet` with timm's head (1000 classes unless told). Where timm cannot be imported, what plain_models.py
    made of it (two classes)."""
    if name == "unet":
        return UNet()
    if name not in NAMES:
        raise ValueError(f"unknown model '{name}'; known: {', '.join(NAMES)}")
    try:
        import timm
    except ImportError:
        plain = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"plain_{name}.py")
        if num_classes != 2 or not os.path.exists(plain):
            raise
        import plain_models
        return plain_models.load(plain)
    return timm.create_model(name, pretrained=False, num_classes=1000 if num_classes is None else num_classes)


def tiny_hrnet(num_classes: int = 3) -> nn.Module:
    """timm's HRNet made small: stem 8 then 64 (fixed by timm), stage channels 4, 8, 16, 32, one block a branch, stages of
    1, 1, 1, 2 modules, head channels 4, 8, 16, 32 (times 4 by the bottleneck), 64 features."""
    from timm.models.hrnet import Bottleneck, HighResolutionNet

    def stage(modules, branches, block, channels):
        return dict(num_modules=modules, num_branches=branches, block_type=block, num_blocks=(1,) * branches,
                    num_channels=channels, fuse_method="SUM")

    class Tiny(HighResolutionNet):
        """timm fixes the head's widths in code; its layers are kept, only narrower."""

        def _make_head(self, pre_stage_channels, incre_only=False, conv_bias=True, device=None, dtype=None):
            planes, features = (4, 8, 16, 32), 64
            self.head_channels, self.num_features = list(planes), features
            incre = [self._make_layer(Bottleneck, c, p, 1) for c, p in zip(pre_stage_channels, planes)]
            down = [nn.Sequential(nn.Conv2d(4 * a, 4 * b, 3, 2, 1), nn.BatchNorm2d(4 * b), nn.ReLU(inplace=True))
                    for a, b in zip(planes, planes[1:])]
            final = nn.Sequential(nn.Conv2d(4 * planes[-1], features, 1), nn.BatchNorm2d(features), nn.ReLU(inplace=True))
            return nn.ModuleList(incre), nn.ModuleList(down), final

    cfg = dict(stem_width=8, stage1=stage(1, 1, "BOTTLENECK", (4,)), stage2=stage(1, 2, "BASIC", (4, 8)),
               stage3=stage(1, 3, "BASIC", (4, 8, 16)), stage4=stage(2, 4, "BASIC", (4, 8, 16, 32)))
    return Tiny(cfg, num_classes=num_classes, head="classification")


def tiny_resnet(bottleneck: bool, num_classes: int = 3) -> nn.Module:
    """timm's ResNet made small, for gray images; the stem keeps timm's 64 channels. Basic blocks: 2, 1, 1, 1 of 3, 6, 12, 24
    planes; bottlenecks: 1, 2, 1, 1 of 2, 4, 8, 16 (times 4)."""
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet

    if bottleneck:
        return ResNet(Bottleneck, (1, 2, 1, 1), num_classes=num_classes, in_chans=1, channels=(2, 4, 8, 16))
    return ResNet(BasicBlock, (2, 1, 1, 1), num_classes=num_classes, in_chans=1, channels=(3, 6, 12, 24))


def tiny_densenet(num_classes: int = 3) -> nn.Module:
    """timm's DenseNet made small: growth 4 (8 channels in the stem), blocks of 1, 3, 2, 1 layers."""
    from timm.models.densenet import DenseNet

    return DenseNet(growth_rate=4, block_config=(1, 3, 2, 1), num_classes=num_classes)


def fill(model: nn.Module) -> nn.Module:
    """Every parameter and buffer from hashfill.py."""
    old = model.state_dict()
    state = {k: torch.from_numpy(hashfill.parameter(k, v.shape, k.rsplit(".", 1)[0] + ".running_var" in old))
             for k, v in old.items()}
    model.load_state_dict(state)
    return model


if __name__ == "__main__":
    for name in NAMES:
        count = sum(p.numel() for p in build(name).parameters())
        print(f"{name:20} {count:>12,}")
        assert COUNTS.get(name, count) == count
