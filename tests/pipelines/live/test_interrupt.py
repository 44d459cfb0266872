"""Ctrl-C: between steps where it was asked for, at once everywhere else, and harmless always."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
import torch

from tests.pipelines.conftest import quiet
from yggdrasil import InferencePipeline
from yggdrasil.pipelines.live.interrupt import InterruptRequest, StopOnInterrupt
from yggdrasil.pipelines.live.preview import Preview

CALL = {"prompt": "a cat", "num_inference_steps": 6, "seed": 0}


@pytest.fixture(autouse=True)
def heeded():
    """Has this process heed Ctrl-C, which shells have those in the background ignore."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, held)


@pytest.fixture
def ddim(theirs):
    pipe = quiet(InferencePipeline.from_diffusers(theirs))
    pipe.graph.replace_node("solver", "solver/ddim", clip_sample=False)
    return pipe


class Presses:
    """Presses Ctrl-C once a step is done, or before a call outside the loop."""

    def __init__(self, *steps, vertex=None):
        self._steps = steps
        self._vertex = vertex
        self.seen = 0

    def on_call(self, call):
        if str(call.vertex) == self._vertex:
            signal.raise_signal(signal.SIGINT)

    def on_step(self, event):
        self.seen = event.index
        if event.index in self._steps:
            signal.raise_signal(signal.SIGINT)


def press():
    signal.raise_signal(signal.SIGINT)


# -- asked for -------------------------------------------------------------------------------------


def test_the_run_ends_after_the_step_that_it_is_in_and_gives_what_it_points_to(ddim):
    frames = []
    preview = Preview(frames.append, every=4, decode=True)
    presses = Presses(3)
    with StopOnInterrupt() as stop:
        result = ddim(**CALL, observers=[stop, presses], preview=preview)
    assert presses.seen == 4
    assert result.metadata["stopped_after"] == [4, 6]
    assert stop.requested
    difference = np.asarray(result.images[0], int) - np.asarray(frames[0].images[0], int)
    assert abs(difference).max() <= 1


def test_ctrl_c_in_the_last_step_changes_nothing(ddim):
    with StopOnInterrupt() as stop:
        result = ddim(**CALL, observers=[stop, Presses(5)])
    assert stop.requested
    assert "stopped_after" not in result.metadata
    assert torch.equal(result.latents, ddim(**CALL).latents)


def test_ctrl_c_while_decoding_lets_the_picture_be_finished(ddim):
    with StopOnInterrupt() as stop:
        result = ddim(**CALL, observers=[stop, Presses(vertex="vae.decode")])
    assert stop.requested
    assert "stopped_after" not in result.metadata
    assert len(result.images) == 1


def test_a_second_ctrl_c_ends_it_at_once(ddim):
    presses = Presses(2, 3)
    with StopOnInterrupt() as stop, pytest.raises(KeyboardInterrupt):
        ddim(**CALL, observers=[stop, presses])
    assert presses.seen == 3


@pytest.mark.parametrize("vertex", ["text.encode", "solver.start"])
def test_before_the_first_step_there_is_nothing_to_keep(ddim, vertex):
    with StopOnInterrupt() as stop, pytest.raises(KeyboardInterrupt):
        ddim(**CALL, observers=[stop, Presses(vertex=vertex)])
    assert not stop.requested


def test_nothing_of_a_run_that_was_ended_is_taken_for_a_whole_one(ddim):
    with StopOnInterrupt() as stop:
        ended = ddim(**CALL, observers=[stop, Presses(2)]).latents
    whole = ddim(**CALL)
    assert "stopped_after" not in whole.metadata
    assert not torch.equal(ended, whole.latents)
    ddim.graph.replace_node("solver", "solver/ddim", clip_sample=False)
    assert torch.equal(whole.latents, ddim(**CALL).latents)


def test_a_callback_that_ends_the_loop_is_told_of_in_the_metadata(ddim):
    def interrupt(pipe, index, timestep, values):
        pipe._interrupt = index == 1
        return values

    result = ddim(**CALL, callback_on_step_end=interrupt)
    assert result.metadata["stopped_after"] == [2, 6]


# -- the handler -----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_DFL])
def test_the_handler_of_before_is_put_back(before):
    signal.signal(signal.SIGINT, before)
    with InterruptRequest() as request:
        assert signal.getsignal(signal.SIGINT) == request._on_signal
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ignores_ctrl_c_goes_on_doing_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with InterruptRequest() as request:
        request.awaited = True
        press()
        assert not request.requested
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_request_waits_for_whoever_looks():
    with InterruptRequest() as request:
        request.awaited = True
        press()
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            press()


def test_other_threads_get_no_signals():
    held = signal.getsignal(signal.SIGINT)
    failed = []

    def work():
        try:
            with InterruptRequest():
                failed.append(signal.getsignal(signal.SIGINT) is not held)
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == [False]


# -- not asked for ---------------------------------------------------------------------------------


def test_without_it_ctrl_c_is_what_it_is_everywhere_and_the_pipeline_stays_usable(ddim, encodings):
    presses = Presses(3)
    with pytest.raises(KeyboardInterrupt):
        ddim(**CALL, observers=[presses])
    assert presses.seen == 3
    assert len(encodings) == 2
    result = ddim(**CALL).latents
    assert len(encodings) == 2
    ddim._runtime.cache.clear()
    assert torch.equal(result, ddim(**CALL).latents)
