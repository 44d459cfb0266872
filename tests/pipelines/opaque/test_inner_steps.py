"""Progress, callbacks and endings of a loop that the graph does not see."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from tests.tiny_whole import tiny_whole
from yggdrasil import InferencePipeline
from yggdrasil.core.errors import Cancelled, InputError
from yggdrasil.pipelines.live.interrupt import StopOnInterrupt

CALL = {
    "prompt": "a red cat",
    "height": 16,
    "width": 16,
    "num_inference_steps": 4,
    "output_type": "np",
}


@pytest.fixture(scope="module")
def theirs():
    """Gives a pipeline that takes a callback and can be interrupted."""
    return tiny_whole("StableDiffusionPAGPipeline")


@pytest.fixture
def ours(theirs):
    pipe = InferencePipeline.from_diffusers(theirs, opaque=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Steps:
    """Notes the steps that it is told."""

    def __init__(self):
        self.seen = []

    def on_call(self, call):
        """Ignores it."""

    def on_step(self, event):
        """Ignores it."""

    def on_inner_step(self, step):
        self.seen.append((step.index, step.count))


def test_observers_are_told_of_its_steps(ours):
    steps = Steps()
    ours(**CALL, seed=0, observers=[steps])
    assert steps.seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_pipeline_without_a_callback_tells_of_its_progress_too():
    steps, whole = Steps(), tiny_whole("DDPMPipeline")
    InferencePipeline.from_diffusers(whole)(num_inference_steps=3, seed=0, observers=[steps])
    assert steps.seen == [(1, 3), (2, 3), (3, 3)]
    assert "progress_bar" not in vars(whole)


def test_nothing_is_shown_where_the_bar_is_off(theirs, ours, capsys):
    theirs.set_progress_bar_config(disable=False)
    ours(**CALL, seed=0)
    assert "%|" not in capsys.readouterr().err


def test_its_progress_moves_the_bar_of_the_run(theirs, capsys):
    pipe = InferencePipeline.from_diffusers(theirs, opaque=True)
    pipe(**CALL, seed=0)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    # Each bar ends its line, however often it is drawn: the pipeline's own is not shown beside it.
    assert shown.count("\n") == 1


def brighter(pipe, index, timestep, values):
    del pipe, timestep
    return {"latents": values["latents"] * (1.1 if index == 1 else 1.0)}


def test_a_callback_sees_and_changes_what_it_would_in_diffusers(theirs, ours):
    kept = ours(**CALL, seed=0).images
    generator = torch.Generator().manual_seed(0)
    expected = theirs(**CALL, generator=generator, callback_on_step_end=brighter).images
    changed = ours(**CALL, seed=0, callback_on_step_end=brighter).images
    assert np.array_equal(changed, expected)
    assert not np.array_equal(changed, kept)
    assert np.array_equal(ours(**CALL, seed=0).images, kept)


def test_names_that_it_does_not_show_are_refused(ours):
    names = ["latent"]
    with pytest.raises(InputError, match=r"pipeline.run does not give. Did you mean 'latents'"):
        ours(**CALL, callback_on_step_end=brighter, callback_on_step_end_tensor_inputs=names)
    whole = InferencePipeline.from_diffusers(tiny_whole("DDPMPipeline"))
    with pytest.raises(InputError, match=r"the pipeline of pipeline.run takes no callback"):
        whole(num_inference_steps=3, callback_on_step_end=brighter)


def test_a_callback_may_end_the_loop(theirs, ours):
    def end(pipe, index, timestep, values):
        del timestep
        pipe._interrupt = index == 1
        return values

    generator = torch.Generator().manual_seed(0)
    expected = theirs(**CALL, generator=generator, callback_on_step_end=end).images
    result = ours(**CALL, seed=0, callback_on_step_end=end)
    assert np.array_equal(result.images, expected)
    assert result.metadata["stopped_after"] == [2, 4]


def test_ctrl_c_ends_the_loop_and_goes_on_to_the_decoder(theirs, ours):
    class AfterTwo(StopOnInterrupt):
        """As if Ctrl-C was pressed in the second step."""

        def on_inner_step(self, step):
            self.requested = step.index == 2
            super().on_inner_step(step)

    result = ours(**CALL, seed=0, observers=[AfterTwo()])
    assert result.metadata["stopped_after"] == [2, 4]
    whole = ours(**CALL, seed=0).images
    assert not np.array_equal(result.images, whole)
    del theirs


def test_a_second_thread_waits_until_the_pipeline_is_free(ours):
    alone = {seed: ours(**CALL, seed=seed).images for seed in (0, 1)}
    ours._runtime.cache.clear()
    made, threads = {}, []

    def second():
        made[1] = ours(**CALL, seed=1).images

    def meanwhile(pipe, index, timestep, values):
        del pipe, timestep, values
        if index == 1:
            threads.append(threading.Thread(target=second))
            threads[0].start()
            threads[0].join(timeout=0.3)
        return {}

    made[0] = ours(**CALL, seed=0, callback_on_step_end=meanwhile).images
    threads[0].join()
    assert all(np.array_equal(made[seed], alone[seed]) for seed in alone)


def test_a_run_is_cancelled_between_its_steps(ours):
    asked = iter([False, False, True])
    with pytest.raises(Cancelled, match="after 2 steps"):
        ours(**CALL, seed=0, cancelled=lambda: next(asked))
