"""Normal noise."""

from __future__ import annotations

from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from yggdrasil.blocks.batching import as_generators
from yggdrasil.core.kinds import Generator, Noise
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractSource
from yggdrasil.core.values import LatentShape

__all__ = ["GaussianSource"]


@register_block("source/gaussian")
class GaussianSource(AbstractSource):
    """Independent standard normal noise.

    A generator of the CPU draws there, and the noise is then moved, so that a seed gives the same
    numbers on every device. The draw is made in the dtype that is wanted: half precision draws
    other numbers than single precision does.
    """

    @op
    def sample(self, shape: LatentShape, generator: Generator | None = None) -> Noise:
        """Draws noise.

        Args:
            shape: Of the latents, with their dtype and device.
            generator: One for the batch, or one for each sample.

        Returns:
            ``b c h w``, mean 0, variance 1.

        Raises:
            InputError: There are several generators, but not one for each sample.
        """
        noise: Tensor = randn_tensor(
            shape.shape,
            generator=as_generators(generator, shape.shape[0]),
            device=shape.device,
            dtype=shape.dtype,
        )
        return noise
