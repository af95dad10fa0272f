"""The same networks and losses written plainly in PyTorch; `benchmarks.training` asks it.

It needs `torch` and `numpy` alone and runs in an environment of its own; but for the networks
nothing of this project is imported. One JSON object a line comes in and one goes out:

  {"model": ..., "objective": "vae" or "vae_gan", "weights": ..., "images": NPZ,
   "threads": ..., "precision": "float32" or "bfloat16", "compiled": bool}  first, builds
  {"parity": NPZ}  loads our weights; answers with the largest differences of the outputs
  {"steps": n}     trains; answers with the seconds of each step

Pictures and kernels are mirrored top to bottom and left to right in the comparison: where a stride
of 2 needs an odd number of pixels around the picture, TensorFlow puts the larger half after it,
PyTorch before. That way neither needs a layer of padding of its own.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.training.pytorch_networks import Decoder, Discriminator, Encoder, Json, load_weights


class Twin:
    """Networks, losses and optimizers of one configuration."""

    def __init__(self, config: Json) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(config["threads"])
        self.config, model = config, config["model"]
        if (model["resize"], model["latent"]) != ("transposed", "vector"):
            raise SystemExit("the PyTorch twin knows transposed convolutions and vectors only")
        self.players: dict[str, nn.Module] = {"encoder": Encoder(model), "decoder": Decoder(model)}
        if config["objective"] == "vae_gan":
            self.players["discriminator"] = Discriminator(model)
        for player in self.players.values():
            player.to(memory_format=torch.channels_last)
        self.learning = {
            name: [p for p in player.parameters() if p.requires_grad]
            for name, player in self.players.items()
        }
        self.optimizers = {
            name: torch.optim.Adam(learning, lr=1e-4, betas=(0.9, 0.99), eps=1e-7, fused=True)
            for name, learning in self.learning.items()
        }
        self.run: dict[str, Callable[..., Any]] = dict(self.players)
        if config["compiled"]:
            import torch._functorch.config as functorch

            functorch.donated_buffer = False  # three backward passes share one forward pass
            self.run = {name: torch.compile(player) for name, player in self.players.items()}
        self.autocast: Callable[[], Any] = contextlib.nullcontext
        if config["precision"] == "bfloat16":
            self.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
        self.images = torch.from_numpy(np.load(config["images"])["batch"])

    def losses(
        self, image: torch.Tensor, epsilon: torch.Tensor, prior: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return means over the batch, as in `objectives/vae.py` and `objectives/vae_gan.py`."""
        weights = self.config["weights"]
        with self.autocast():
            mean, log_var = self.run["encoder"](image)
            latent = mean + weights["noise"] * torch.exp(0.5 * log_var) * epsilon
            kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
            kl = weights["kl_weight"] * kl / mean.shape[1]
            if self.config["objective"] == "vae":
                dream = self.run["decoder"](latent)
                loss = functional.mse_loss(dream, image) + kl
                return {"encoder": loss, "decoder": loss}
            dream, dreamt = self.run["decoder"](torch.cat([latent, prior])).chunk(2)
            logits, features = self.run["discriminator"](torch.cat([image, dream, dreamt]))
            real, fake, imagined = logits.float().chunk(3)
            pairs = [feature.float().chunk(3)[:2] for feature in features]
        similar = torch.stack([functional.mse_loss(b, a) for a, b in pairs]).mean()
        pixel = weights["pixel_weight"] * functional.mse_loss(dream, image)
        adversarial = functional.softplus(-fake).mean() + functional.softplus(-imagined).mean()
        gan = functional.softplus(-real).mean() + functional.softplus(fake).mean()
        return {
            "encoder": kl + similar + pixel,
            "decoder": weights["gamma"] * similar
            + pixel
            + weights["adversarial_weight"] * adversarial,
            "discriminator": gan + functional.softplus(imagined).mean(),
        }

    def step(self) -> None:
        """One step of every player, all gradients taken at the same point."""
        image = self.images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        size = (len(image), self.config["model"]["latent_size"])
        losses = self.losses(image, torch.randn(size), torch.randn(size))
        if self.config["objective"] == "vae":
            losses["encoder"].backward()
        else:
            self._gradients(losses)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def _gradients(self, losses: dict[str, torch.Tensor]) -> None:
        last = list(losses)[-1]
        found = {
            name: torch.autograd.grad(loss, self.learning[name], retain_graph=name != last)
            for name, loss in losses.items()
        }
        for name, gradients in found.items():
            for parameter, gradient in zip(self.learning[name], gradients, strict=True):
                parameter.grad = gradient

    def parity(self, path: str) -> dict[str, float]:
        """Load our weights; return the largest difference of each output and loss."""
        given = np.load(path)
        for name, player in self.players.items():
            load_weights(player, {k: given[k] for k in given.files if k.startswith(f"{name}/")})
        images = torch.from_numpy(given["images"])
        image = (images.permute(0, 3, 1, 2).float() / 127.5 - 1.0).flip(2, 3)
        noise = [torch.from_numpy(given[key]) for key in ("epsilon", "prior")]
        with torch.no_grad():
            mean, log_var = self.players["encoder"](image)
            dream = self.players["decoder"](mean).flip(2, 3).permute(0, 2, 3, 1)
            losses = self.losses(image, *noise)
        found = {"mean": mean, "log_var": log_var, "picture": dream}
        found |= {f"loss_{name}": loss for name, loss in losses.items()}
        return {
            name: float(np.abs(values.numpy() - given[f"expected_{name}"]).max())
            for name, values in found.items()
        }


def main() -> None:
    twin = Twin(json.loads(sys.stdin.readline()))
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "parity" in asked:
            print(json.dumps(twin.parity(asked["parity"])), flush=True)
            continue
        seconds, before = [], time.process_time()
        for _ in range(asked["steps"]):
            start = time.perf_counter()
            twin.step()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "cpu": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    main()
