"""``yggdrasil rerun``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer
from rich.markup import escape

from yggdrasil.cli.live import LiveDisplay
from yggdrasil.cli.output import print_line
from yggdrasil.cli.printing import printable
from yggdrasil.cli.quiet import quiet_libraries
from yggdrasil.core.errors import InputError
from yggdrasil.pipelines import rerun as pictures
from yggdrasil.pipelines.workflows.pictures import SUFFIXES, format_of

__all__ = ["RerunOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class RerunOptions:
    """The options of the command; see ``yggdrasil rerun --help``."""

    picture: Path
    output: Path | None
    model: str | None
    device: str | None
    allow_download: bool
    allow_changes: bool


@quiet_libraries()
def run(options: RerunOptions) -> None:
    """Makes a picture again and says whether it is the same.

    Raises:
        typer.Exit: With code 1, if it is another.
    """
    picture = options.picture
    suffix = picture.suffix if picture.suffix.lower() in SUFFIXES else ".png"
    output = options.output or picture.parent / f"{picture.stem}-again{suffix}"
    if output.resolve() == picture.resolve():
        raise InputError(f"{output} is the picture itself: name another file with --output.")
    format_of(output)  # a run may be long
    display = LiveDisplay(str(picture))
    with display.shown():
        again = pictures.rerun(
            picture,
            model=options.model,
            device=options.device,
            allow_download=options.allow_download,
            allow_changes=options.allow_changes,
            observers=[display],
            progress_bar=False,
        )
    (path,) = again.result.save(output, index=again.index)
    what = "the same bits as" if again.same else "not the bits of"
    print_line(f"{escape(str(path))}  [bold]{what}[/] {escape(str(picture))}")
    if not again.same:
        unknown = (
            "in nothing that the record tells of: weights, libraries and machine are as they were. "
            "Settings made on a model by hand (FreeU, hooks, attention processors) are not in it."
        )
        for each in again.differences or (unknown,):
            print_line(f"  {escape(printable(each))}")
        raise typer.Exit(1)
