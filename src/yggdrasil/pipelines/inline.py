"""Pictures inside HTML: nothing is fetched, and a drawing's style stays its own."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

__all__ = ["image_tag", "picture_tag"]


def image_tag(svg: str, alt: str) -> str:
    """Gives an ``img`` of an SVG drawing, as a data URI.

    Inside the page itself the drawing's style sheet and ids would be those of the whole page.

    Args:
        svg: The drawing.
        alt: What it shows.
    """
    data = base64.b64encode(svg.encode()).decode("ascii")
    return (
        f'<img style="max-width:100%" alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'
    )


def picture_tag(picture: Image.Image, alt: str, *, largest: int = 256) -> str:
    """Gives an ``img`` of a picture, made smaller where it is large, as a data URI.

    Args:
        picture: The picture.
        alt: What it shows.
        largest: The longest side, in pixels; shown so large too.
    """
    small = picture.copy()
    small.thumbnail((largest, largest))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    longest = "width" if small.width >= small.height else "height"
    return (
        f'<img style="{longest}:{largest}px" alt="{escape(alt)}" '
        f'src="data:image/png;base64,{data}">'
    )
