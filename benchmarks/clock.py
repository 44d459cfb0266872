"""What models take of a call, so that the rest can be told apart."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Clock", "clocked", "collector_at_rest"]


class Clock:
    """Adds up the processor time that is spent in some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the function with its time added up; calls inside it are part of it."""

        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.process_time() - start

        return measured


@contextmanager
def clocked(pipeline: Any) -> Iterator[Clock]:
    """Puts a clock around the models of a Diffusers pipeline.

    Args:
        pipeline: Its UNet, text encoder and VAE are shared with whoever else runs them.
    """
    clock = Clock()
    places = [
        (pipeline.unet, "forward"),
        (pipeline.text_encoder, "forward"),
        (pipeline.vae, "encode"),
        (pipeline.vae, "decode"),
    ]
    for model, name in places:
        setattr(model, name, clock.around(getattr(model, name)))
    try:
        yield clock
    finally:
        for model, name in places:
            delattr(model, name)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Hides everything that exists from Python's garbage collector for a while.

    What is made from now on is still collected. But rounds through the half million objects that
    PyTorch and Diffusers keep, which last a tenth of a second, fall on nobody by chance.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
