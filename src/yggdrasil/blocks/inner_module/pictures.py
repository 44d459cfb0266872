"""What control pictures of every family have in common."""

from __future__ import annotations

from torch import Tensor

from yggdrasil.core.errors import InputError

__all__ = ["for_each_sample"]


def for_each_sample(image: Tensor, batch: int, per_prompt: int) -> Tensor:
    """Repeats control pictures to make a batch, as Diffusers' ``prepare_image`` does.

    Args:
        image: ``n c H W``: one, or one for each prompt.
        batch: How many samples there are.
        per_prompt: How many samples there are for each prompt.

    Returns:
        ``batch c H W``.

    Raises:
        InputError: There are neither one nor as many as prompts.
    """
    copies = batch if len(image) == 1 else per_prompt
    if len(image) * copies != batch:
        raise InputError(
            f"There are {len(image)} control images for {batch // per_prompt} prompts: give one, "
            "or one for each."
        )
    return image.repeat_interleave(copies, dim=0)
