"""Keeping what is not to be painted anew, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from yggdrasil.blocks.checks import check_choice
from yggdrasil.blocks.processor.kinds import LatentMask
from yggdrasil.core.kinds import Channels, Latents
from yggdrasil.core.ports import op
from yggdrasil.core.registry import register_block
from yggdrasil.core.roles import AbstractProcessor
from yggdrasil.core.values import BackboneSpec, SolverState

__all__ = ["InpaintBlend"]

_UNREAD = ("nothing", "covered", "masked")


@register_block("processor/inpaint_blend")
class InpaintBlend(AbstractProcessor):
    """Inpainting with a backbone that knows nothing of masks.

    A backbone that reads the mask among its further channels needs none of it.

    Source:
        Lugmayr et al. 2022 (arXiv:2201.09865), equation 8; Avrahami et al. 2022
        (arXiv:2206.02779), algorithm 1.
    """

    @op
    def blend(
        self,
        state: SolverState,
        known: Latents,
        mask: LatentMask,
        channels: Channels | None = None,
        backbone: BackboneSpec | None = None,
        covered: Latents | None = None,
        masked: Latents | None = None,
        unread: Literal["nothing", "covered", "masked"] = "nothing",
    ) -> SolverState:
        """Puts the known picture back where the mask is 0.

        Args:
            state: After a step.
            known: The picture's latents ``b c h w``, at the noise level of the state.
            mask: ``b 1 h w``, 1 where to paint anew.
            channels: Mask and masked picture as an inpainting backbone reads them. They are not
                read here; but Diffusers draws the masked picture's latents for every backbone,
                and solvers that draw too get the same numbers only after the same draws.
            backbone: Says whether it reads the mask itself, and so whether this op applies.
            covered: The masked picture's latents, drawn before all else and not read here either.
            masked: The same, drawn when all else is.
            unread: Which of the two are drawn, to leave a generator as Diffusers leaves it.
        """
        del channels, backbone, covered, masked, unread
        return state.with_latents((1 - mask) * known + mask * state.latents)

    def check_inputs(self, op: str, known: Mapping[str, Any]) -> None:
        """Refuses to draw what there is not.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.

        Raises:
            InputError: ``unread`` names neither of the two.
        """
        del op
        if "unread" in known:
            check_choice("unread", known["unread"], _UNREAD)

    def declines(self, op: str, facts: Mapping[str, Any]) -> bool:
        """Says that a backbone which reads the mask sees to it itself.

        Args:
            op: The op.
            facts: Values of its inputs that are known from configuration.
        """
        backbone = facts.get("backbone")
        return op == "blend" and backbone is not None and backbone.reads_mask

    def unused_inputs(self, op: str, known: Mapping[str, Any]) -> frozenset[str]:
        """Says that nothing is drawn for its own sake unless that is asked for.

        Args:
            op: The op that will be run.
            known: Values of its inputs that are known.
        """
        del op
        return frozenset({"covered", "masked"}) - {known.get("unread")}
