"""The networks of `pytorch.py`: ours in PyTorch, with layers of the same names."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LOG_VAR_RANGE = (-12.0, 6.0)
KERAS_EPSILON = 1e-3
Json = dict[str, Any]
Shape = tuple[int, ...]


def normalisation(model: Json, channels: int) -> nn.Module:
    """Group normalisation as Keras does it, or nothing."""
    if model["normalization"] == "none":
        return nn.Identity()
    groups = next(number for number in range(8, 0, -1) if channels % number == 0)
    return nn.GroupNorm(groups, channels, eps=KERAS_EPSILON)


def activation(model: Json) -> nn.Module:
    """The activation that Keras knows by that name."""
    return nn.SiLU() if model["activation"] == "silu" else nn.LeakyReLU(0.2)


def halving(model: Json, inputs: int, outputs: int) -> nn.Module:
    """A convolution of stride 2."""
    size = model["kernel_size"]
    return nn.Conv2d(inputs, outputs, size, stride=2, padding=(size - 1) // 2)


def doubling(model: Json, inputs: int, outputs: int) -> nn.Module:
    """A transposed convolution of stride 2."""
    size = model["kernel_size"]
    return nn.ConvTranspose2d(
        inputs, outputs, size, stride=2, padding=(size - 1) // 2, output_padding=size % 2
    )


class FlatLinear(nn.Linear):
    """A dense layer from or to a flattened map, whose shape it remembers for `load_weights`."""

    def __init__(self, inputs: Shape | int, outputs: Shape | int) -> None:
        super().__init__(math.prod(listed(inputs)), math.prod(listed(outputs)))
        self.map_in, self.map_out = listed(inputs), listed(outputs)


def listed(shape: Shape | int) -> Shape:
    """A number as a shape."""
    return (shape,) if isinstance(shape, int) else shape


class Residual(nn.Module):
    """x + convolution(activation(convolution(x)))."""

    def __init__(self, model: Json, channels: int, number: int, kind: str = "residual") -> None:
        super().__init__()
        self.names = (f"{kind}_{number}_in", f"{kind}_{number}_out")
        for name in self.names:
            self.add_module(name, nn.Conv2d(channels, channels, 3, padding=1))
        self.act = activation(model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> the same."""
        first, second = (getattr(self, name) for name in self.names)
        return x + second(self.act(first(x)))


def smallest(model: Json, filters: str, channels: int) -> Shape:
    """(channels, height, width) of the smallest map."""
    depth = 2 ** len(model[filters])
    return channels, model["height"] // depth, model["width"] // depth


def linear_size(model: Json) -> Shape:
    """(colours, height, width) at which the linear path works."""
    return 3, model["height"] // model["linear_pool"], model["width"] // model["linear_pool"]


class Encoder(nn.Module):
    """[B, 3, H, W] -> (mean, log_var), [B, latent] each."""

    def __init__(self, model: Json) -> None:
        super().__init__()
        self.body = nn.Sequential()
        widths = [3, *model["filters"]]
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            self.body.add_module(f"conv_{i}", halving(model, inputs, outputs))
            if i > 0:
                self.body.add_module(f"conv_{i}_norm", normalisation(model, outputs))
            self.body.add_module(f"conv_{i}_activation", activation(model))
        for i in range(model["residual_blocks"]):
            self.body.add_module(f"block_{i}", Residual(model, widths[-1], i))
        narrow = model["bottleneck_channels"]
        if narrow:
            self.body.add_module("narrow", nn.Conv2d(widths[-1], narrow, 1))
        flat, latent = smallest(model, "filters", narrow or widths[-1]), model["latent_size"]
        self.mean, self.log_var = FlatLinear(flat, latent), FlatLinear(flat, latent)
        self.linear_code = FlatLinear(linear_size(model), latent) if model["linear_path"] else None
        self.pool = model["linear_pool"]
        if self.linear_code is not None:
            self.linear_code.requires_grad_(False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        x = self.body(image).flatten(1)
        mean, log_var = self.mean(x).float(), self.log_var(x).float()
        if self.linear_code is not None:
            with torch.autocast("cpu", enabled=False):
                mean = mean + self.linear_code(functional.avg_pool2d(image, self.pool).flatten(1))
        return mean, log_var.clamp(*LOG_VAR_RANGE)


class Decoder(nn.Module):
    """[B, latent] -> [B, 3, H, W]."""

    def __init__(self, model: Json) -> None:
        super().__init__()
        filters, narrow = model["filters"], model["bottleneck_channels"]
        last, latent = filters[-1], model["latent_size"]
        self.unflat = FlatLinear(latent, smallest(model, "filters", narrow or last))
        self.body = nn.Sequential()
        if narrow:
            self.body.add_module("widen", nn.Conv2d(narrow, last, 1))
        self.body.add_module("map_norm", normalisation(model, last))
        self.body.add_module("map_activation", activation(model))
        for i in range(model["residual_blocks"]):
            self.body.add_module(f"block_{i}", Residual(model, last, i))
        self.see, self.tail = None, nn.Sequential()
        part = self.body
        for i in range(len(filters) - 1, 0, -1):
            outputs = filters[i - 1]
            part.add_module(f"deconv_{i}", doubling(model, filters[i], outputs))
            part.add_module(f"deconv_{i}_norm", normalisation(model, outputs))
            part.add_module(f"deconv_{i}_activation", activation(model))
            if i == 2 and model["refinement_blocks"]:
                self.see, part = nn.Conv2d(3, outputs, 8, stride=4, padding=2), self.tail
                for j in range(model["refinement_blocks"]):
                    part.add_module(f"refine_{j}", Residual(model, outputs, j, "refine"))
                part.add_module("refined", activation(model))
        part.add_module("deconv_0", doubling(model, filters[0], 3))
        self.linear_picture, self.pool = None, model["linear_pool"]
        if model["linear_path"]:
            self.linear_picture = FlatLinear(latent, linear_size(model))
            self.linear_picture.requires_grad_(False)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.unflat(latent).unflatten(1, self.unflat.map_out)
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        if self.linear_picture is None:
            return torch.tanh(self.tail(x).float())
        with torch.autocast("cpu", enabled=False):
            linear = self.linear_picture(latent).unflatten(1, self.linear_picture.map_out)
            if self.pool > 1:
                linear = functional.interpolate(linear, scale_factor=self.pool, mode="bilinear")
        if self.see is not None:
            x = x + self.see(linear.contiguous(memory_format=torch.channels_last))
        return self.tail(x).float() + linear


class Discriminator(nn.Module):
    """[B, 3, H, W] -> (logits [B, 1], features of each convolution)."""

    def __init__(self, model: Json) -> None:
        super().__init__()
        widths = [3, *model["discriminator_filters"]]
        self.stages = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            stage = nn.Sequential()
            stage.add_module(f"conv_{i}", halving(model, inputs, outputs))
            if i > 0:
                stage.add_module(f"norm_{i}", normalisation(model, outputs))
            stage.add_module(f"feature_{i}", nn.LeakyReLU(0.2))
            self.stages.append(stage)
        self.logits = FlatLinear(smallest(model, "discriminator_filters", widths[-1]), 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """See the class."""
        features, x = [], image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        with torch.autocast("cpu", enabled=False):
            return self.logits(x.float().flatten(1)), features


def load_weights(player: nn.Module, ours: dict[str, np.ndarray]) -> None:
    """Copy a network's weights, mirrored (see above); every one of them must find its place.

    `ours` are Keras' arrays by path, NETWORK/LAYER/kernel and the like.
    """
    left = dict(ours)
    for name, module in player.named_modules():
        layer = name.split(".")[-1]
        found = {key.split("/")[-1]: key for key in ours if key.split("/")[1] == layer}
        if not found:
            continue
        values = [
            torch.from_numpy(left.pop(found[key]))
            for key in (("gamma", "beta") if "gamma" in found else ("kernel", "bias"))
        ]
        with torch.no_grad():
            for parameter, value in zip((module.weight, module.bias), values, strict=True):
                parameter.copy_(converted(module, value))
    assert not left, f"weights of ours without a place: {sorted(left)}"


def converted(module: nn.Module, value: torch.Tensor) -> torch.Tensor:
    """One of Keras' arrays as PyTorch has it."""
    if value.ndim == 4:  # height, width, inputs, outputs; transposed: outputs, inputs
        return value.flip(0, 1).permute(3, 2, 0, 1)
    if not isinstance(module, FlatLinear):
        return value
    value = channels_first(value, module.map_out)
    return channels_first(value.T, module.map_in) if value.ndim == 2 else value


def channels_first(value: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The last axis from (height, width, channels) to (channels, height, width), mirrored."""
    if len(shape) == 1:
        return value
    channels, height, width = shape
    maps = value.unflatten(-1, (height, width, channels)).flip(-3, -2)
    return maps.movedim(-1, -3).flatten(-3)
