from __future__ import annotations

import pytest
import torch

from tests.tiny_models import tiny_pipeline
from yggdrasil import InferencePipeline


@pytest.fixture(scope="module")
def theirs():
    """Gives a Diffusers pipeline; its modules must be left as they are."""
    return tiny_pipeline()


@pytest.fixture
def ours(theirs):
    """Gives a pipeline on the same modules that chooses its task by the arguments."""
    return quiet(InferencePipeline.from_diffusers(theirs, task=None))


@pytest.fixture
def encodings(theirs):
    """Lists the token ids of every run of the text encoder."""
    seen = []
    hook = theirs.text_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(args[0] if args else kwargs["input_ids"]),
        with_kwargs=True,
    )
    yield seen
    hook.remove()


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
