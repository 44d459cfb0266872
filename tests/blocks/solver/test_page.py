"""The page on solvers does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from tests.blocks.solver.driving import draw, model, run, seeded
from tests.pipelines.conftest import quiet
from yggdrasil import InferencePipeline
from yggdrasil.core.registry import make_block

PAGE = Path(__file__).parents[3] / "docs" / "solvers.md"
ONE, TOGETHER = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_a_solver_takes_the_place_of_a_models_own(tiny_folder):
    class Loading:
        from_pretrained = staticmethod(
            lambda model, solver: quiet(
                InferencePipeline.from_pretrained(tiny_folder("sd15"), solver=solver)
            )
        )

    told = {"InferencePipeline": Loading}
    exec(ONE, told)  # noqa: S102 - of our own page
    made = told["pipe"].graph.block("solver").make_scheduler()
    assert type(made).__name__ == "DPMSolverMultistepScheduler"
    assert made.config.use_karras_sigmas is True


def test_samples_come_to_a_batch_and_leave_it():
    noises = draw(1, 1, 4, 8, 8), draw(2, 1, 4, 8, 8)
    told = {"first_noise": noises[0], "other_noise": noises[1], "predict": model}
    told["generators"] = [seeded(1), seeded(2)]
    exec(TOGETHER, told)  # noqa: S102 - of our own page
    solver = make_block("solver/native_euler")
    alone = [
        run(solver, solver.start(noise, num_inference_steps=steps))[-1].latents
        for noise, steps in zip(noises, (20, 8), strict=True)
    ]
    assert torch.equal(told["ready"], torch.cat(alone))
