"""YggDrasil: a Lego set for diffusion.

Every part of a diffusion system is a block with typed ports; blocks dropped into a graph find their
own place; a graph is a stage, and stages joined are a pipeline. Attributes are imported on first
use, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yggdrasil.core.registry import search_package
from yggdrasil.core.template_sources import search_templates

if TYPE_CHECKING:
    from yggdrasil.core.block import AbstractBaseBlock
    from yggdrasil.core.graph import ComputeGraph
    from yggdrasil.core.ports import op
    from yggdrasil.core.registry import register_block
    from yggdrasil.core.stage import AbstractStage
    from yggdrasil.core.template_sources import register_template
    from yggdrasil.hub.registry import MODEL_REGISTRY
    from yggdrasil.pipelines.inference import InferencePipeline
    from yggdrasil.pipelines.live.interrupt import StopOnInterrupt
    from yggdrasil.pipelines.live.preview import Preview
    from yggdrasil.pipelines.runner import Runner
    from yggdrasil.pipelines.training import TrainingPipeline

__version__ = "0.1.0"

__all__ = [
    "MODEL_REGISTRY",
    "AbstractBaseBlock",
    "AbstractStage",
    "ComputeGraph",
    "InferencePipeline",
    "Preview",
    "Runner",
    "StopOnInterrupt",
    "TrainingPipeline",
    "__version__",
    "op",
    "register_block",
    "register_template",
]

_HOMES = {
    "AbstractBaseBlock": "yggdrasil.core.block",
    "AbstractStage": "yggdrasil.core.stage",
    "ComputeGraph": "yggdrasil.core.graph",
    "MODEL_REGISTRY": "yggdrasil.hub.registry",
    "InferencePipeline": "yggdrasil.pipelines.inference",
    "Runner": "yggdrasil.pipelines.runner",
    "Preview": "yggdrasil.pipelines.live.preview",
    "StopOnInterrupt": "yggdrasil.pipelines.live.interrupt",
    "TrainingPipeline": "yggdrasil.pipelines.training",
    "op": "yggdrasil.core.ports",
    "register_block": "yggdrasil.core.registry",
    "register_template": "yggdrasil.core.template_sources",
}

search_package("yggdrasil.blocks")
search_templates("yggdrasil.templates")


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, imported or not."""
    return sorted(__all__)
