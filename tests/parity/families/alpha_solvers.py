"""The solvers of families whose models predict noise or velocity on a schedule of betas."""

from __future__ import annotations

from tests.parity.family import Solver

_FLOW_ALONE = {"given sigmas": "UniPC takes sigmas of the caller's with flows alone"}

SOLVERS = {
    "cogvideox_ddim": Solver("CogVideoXDDIMScheduler"),
    "consistency": Solver(
        # Which has 40 timesteps.
        "CMStochasticIterativeScheduler",
        call={"timesteps": [31, 11, 1]},
    ),
    "cosine_dpmpp_2m_sde": Solver("CosineDPMSolverMultistepScheduler"),
    "ddim": Solver("DDIMScheduler"),
    "ddim_inverse": Solver("DDIMInverseScheduler"),
    "ddim_parallel": Solver("DDIMParallelScheduler"),
    "ddpm": Solver("DDPMScheduler"),
    "ddpm_parallel": Solver("DDPMParallelScheduler"),
    "deis": Solver("DEISMultistepScheduler"),
    "dpm2": Solver("KDPM2DiscreteScheduler"),
    "dpm2_a": Solver("KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": Solver("DPMSolverMultistepScheduler"),
    "dpmpp_2m_inverse": Solver("DPMSolverMultistepInverseScheduler"),
    "dpmpp_2m_sde": Solver(
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++"},
        node="solver/dpmpp_2m_sde",
    ),
    "dpmpp_2s": Solver("DPMSolverSinglestepScheduler"),
    # Without its seed Diffusers takes one that no caller decides.
    "dpmpp_sde": Solver("DPMSolverSDEScheduler", {"noise_sampler_seed": 7}),
    "edm_dpmpp_2m": Solver("EDMDPMSolverMultistepScheduler"),
    "edm_euler": Solver("EDMEulerScheduler"),
    "euler": Solver("EulerDiscreteScheduler"),
    "euler_a": Solver("EulerAncestralDiscreteScheduler"),
    "heun": Solver("HeunDiscreteScheduler"),
    "ipndm": Solver("IPNDMScheduler"),
    "lcm": Solver("LCMScheduler"),
    "lms": Solver("LMSDiscreteScheduler"),
    "native_ddim": Solver("DDIMScheduler", node="solver/native_ddim"),
    "native_dpmpp_2m": Solver("DPMSolverMultistepScheduler", node="solver/native_dpmpp_2m"),
    "native_euler": Solver("EulerDiscreteScheduler", node="solver/native_euler"),
    "native_euler_a": Solver("EulerAncestralDiscreteScheduler", node="solver/native_euler_a"),
    # The Runge-Kutta steps of the scheduler are those of solver/pndm alone.
    "native_pndm": Solver("PNDMScheduler", {"skip_prk_steps": True}, node="solver/native_pndm"),
    "native_unipc": Solver(
        "UniPCMultistepScheduler", node="solver/native_unipc", unlike=_FLOW_ALONE
    ),
    # Its Runge-Kutta steps take four at least.
    "pndm": Solver("PNDMScheduler", call={"num_inference_steps": 4}),
    "sa": Solver("SASolverScheduler"),
    "tcd": Solver("TCDScheduler"),
    "unipc": Solver("UniPCMultistepScheduler", unlike=_FLOW_ALONE),
}
