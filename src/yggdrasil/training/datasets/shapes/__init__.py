"""The shapes world: captioned pictures of simple objects, drawn and judged by rule.

It serves to train a text-to-image model without any data set to download, and to say by
image analysis, attribute by attribute, whether a generated picture shows what was asked.
"""

from yggdrasil.training.datasets.shapes.captions import caption, paraphrase
from yggdrasil.training.datasets.shapes.checker import Verdict, check
from yggdrasil.training.datasets.shapes.dataset import ShapesDataset, ShapesSample
from yggdrasil.training.datasets.shapes.errors import CaptionError, ShapesError
from yggdrasil.training.datasets.shapes.parsing import parse_caption
from yggdrasil.training.datasets.shapes.perception import SeenItem, SeenScene, perceive
from yggdrasil.training.datasets.shapes.render import DEFAULT_SIZE, complete, render
from yggdrasil.training.datasets.shapes.sampling import (
    EvaluationPrompt,
    draw_scene,
    evaluation_prompts,
)
from yggdrasil.training.datasets.shapes.scene import (
    Background,
    Color,
    ColorShape,
    Item,
    Position,
    Relation,
    Scene,
    Shape,
    Size,
    backgrounds_for,
    kept_out_pairs,
    training_pairs,
)

__all__ = [
    "DEFAULT_SIZE",
    "Background",
    "CaptionError",
    "Color",
    "ColorShape",
    "EvaluationPrompt",
    "Item",
    "Position",
    "Relation",
    "Scene",
    "SeenItem",
    "SeenScene",
    "Shape",
    "ShapesDataset",
    "ShapesError",
    "ShapesSample",
    "Size",
    "Verdict",
    "backgrounds_for",
    "caption",
    "check",
    "complete",
    "draw_scene",
    "evaluation_prompts",
    "kept_out_pairs",
    "paraphrase",
    "parse_caption",
    "perceive",
    "render",
    "training_pairs",
]
