"""The commands and their options; what they do is in a module each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from yggdrasil.cli import completing
from yggdrasil.cli.failing import Commands

__all__ = ["app"]

app = typer.Typer(
    name="yggdrasil",
    cls=Commands,
    help="A Lego set for diffusion: generate, train and inspect graphs of blocks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
graph_app = typer.Typer(help="Draw a graph, or explain one of its edges.", no_args_is_help=True)
app.add_typer(graph_app, name="graph")
hub_app = typer.Typer(
    help="List, resolve and check the models that are known.", no_args_is_help=True
)
app.add_typer(hub_app, name="hub")

Model = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option("--model", "-m", help="Zoo name, folder or hub id; the model in the box if none."),
]
Template = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option(
        "--template",
        "-t",
        help="Template or task; the model's own, or sd15, if none.",
        autocompletion=completing.template_names,
    ),
]

OtherModel = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option("--model", "-m", help="A model in place of the one that is named."),
]
Device = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option("--device", help="Such as cpu; where it ran before if none."),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch a model that is not on this machine.")
]
Pictures = Annotated[
    Path, typer.Option("--output", "-o", file_okay=False, help="Folder for pictures.")
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Graph = Annotated[
    str,
    typer.Argument(
        help="A template, a task, or a graph file.", autocompletion=completing.template_names
    ),
]


def _show_version(*, wanted: bool) -> None:
    if wanted:
        from yggdrasil import __version__

        typer.echo(f"yggdrasil {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; may stand anywhere.")
    ] = False,
) -> None:
    """A Lego set for diffusion: generate, train and inspect graphs of blocks."""
    del version, debug  # the one is done by its callback, the other by main


@app.command()
def generate(
    prompts: Annotated[list[str], typer.Argument(help="What to show; one picture each.")],
    *,
    model: Model = None,
    template: Template = None,
    output: Pictures = Path("pictures"),
    steps: Annotated[int, typer.Option("--steps", "-s", help="Denoising steps.")] = 20,
    guidance_scale: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it at run time
        typer.Option("--guidance-scale", "-g", help="The model's usual one if none."),
    ] = None,
    negative: Annotated[str, typer.Option("--negative", help="What not to show.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the first picture; then counting.")] = 0,
    image: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--image", "-i", help="Start from this picture (img2img)."),
    ] = None,
    mask: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--mask", help="With --image: paint anew where it is white."),
    ] = None,
    strength: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it at run time
        typer.Option("--strength", help="With --image: how much to change, 0 to 1."),
    ] = None,
    solver: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--solver",
            help="Such as solver/euler; the model's own if none.",
            autocompletion=completing.solver_names,
        ),
    ] = None,
    width: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--width"),
    ] = None,
    height: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--height"),
    ] = None,
    preview_every: Annotated[
        int,
        typer.Option(
            "--preview-every", min=0, help="Steps between previews, in the terminal or a file."
        ),
    ] = 0,
    profile: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--profile", dir_okay=False, help="Show time and memory; draw them to this SVG file."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make pictures from prompts."""
    from yggdrasil.cli.generate import GenerateOptions, run

    run(
        GenerateOptions(
            prompts=prompts, model=model, template=template, output=output, steps=steps,
            guidance_scale=guidance_scale, negative=negative, seed=seed, image=image, mask=mask,
            strength=strength, solver=solver, width=width, height=height,
            preview_every=preview_every, profile=profile, json=json,
        )
    )  # fmt: skip


@app.command()
def run(
    workflow: Annotated[Path, typer.Argument(help="What pipe.save_workflow wrote.")],
    inputs: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Argument(help="In place of its own: name=value, or name=@file for a picture."),
    ] = None,
    *,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--output", "-o", dir_okay=False, help="The picture; in pictures/ if none."),
    ] = None,
    model: OtherModel = None,
    device: Device = None,
    allow_download: AllowDownload = False,
) -> None:
    """Run a workflow: a saved graph with its inputs."""
    from yggdrasil.cli.run import RunOptions
    from yggdrasil.cli.run import run as run_workflow

    run_workflow(
        RunOptions(
            workflow=workflow, inputs=inputs or [], output=output, model=model, device=device,
            allow_download=allow_download,
        )
    )  # fmt: skip


@app.command()
def rerun(
    picture: Annotated[Path, typer.Argument(help="A picture that YggDrasil wrote.")],
    *,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--output", "-o", dir_okay=False, help="The new picture; beside it if none."),
    ] = None,
    model: OtherModel = None,
    device: Device = None,
    allow_download: AllowDownload = False,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Also where it was changed since.")
    ] = False,
) -> None:
    """Make a picture again from what it carries, bit for bit."""
    from yggdrasil.cli.rerun import RerunOptions
    from yggdrasil.cli.rerun import run as run_again

    run_again(
        RerunOptions(
            picture=picture, output=output, model=model, device=device,
            allow_download=allow_download, allow_changes=allow_changes,
        )
    )  # fmt: skip


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="Zoo name, folder or hub id.")],
    prompt: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Argument(help="What to show; a red circle if none."),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the pictures.")
    ] = Path("comparison"),
    html: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--html", dir_okay=False, help="File for a page that shows it all."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="How much may differ; above it, exit code 3.")
    ] = 0.0,
    separate: Annotated[
        bool, typer.Option("--separate", help="Load the model twice instead of sharing it.")
    ] = False,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="How often both are timed.")] = 5,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Measure it, in two more processes.")
    ] = True,
    steps: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--steps", "-s", help="Denoising steps; 20 or fewer if none, by the model."),
    ] = None,
    guidance_scale: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it at run time
        typer.Option("--guidance-scale", "-g", help="The model's usual one if none."),
    ] = None,
    negative: Annotated[str, typer.Option("--negative", help="What not to show.")] = "",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    image: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--image", "-i", help="Start from this picture; one is drawn where the model needs one."
        ),
    ] = None,
    mask: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--mask", help="With --image: paint anew where it is white."),
    ] = None,
    strength: Annotated[
        Optional[float],  # noqa: UP045 - typer reads it at run time
        typer.Option("--strength", help="With --image: how much to change, 0 to 1."),
    ] = None,
    solver: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--solver", help="Such as solver/euler; the model's own if none."),
    ] = None,
    width: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--width"),
    ] = None,
    height: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option("--height"),
    ] = None,
    argument: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Option(
            "--argument",
            "-a",
            help="Any other of the call: name=value, or name=@file for a picture; repeatable.",
        ),
    ] = None,
    task: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--task", help="Such as img2img; told by model and pictures if none."),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Of the weights.")] = "float32",
    device: Annotated[str, typer.Option("--device", help="Where to run.")] = "cpu",
) -> None:
    """Make one call with YggDrasil and with Diffusers, and say how the results differ."""
    from yggdrasil.cli.compare import CompareOptions, run

    run(
        CompareOptions(
            output=output, html=html, json=json, tolerance=tolerance, separate=separate,
            pairs=pairs, memory=memory,
        ),
        model=model, prompt=prompt, steps=steps, guidance_scale=guidance_scale, negative=negative,
        seed=seed, image=None if image is None else str(image),
        mask=None if mask is None else str(mask), strength=strength, solver=solver, width=width,
        height=height, further=tuple(argument or ()), task=task, dtype=dtype, device=device,
    )  # fmt: skip


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of a packaged one.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", file_okay=False, help="Folder of the run.")
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume/--from-scratch", help="Go on from checkpoints.")
    ] = True,
    evaluate_every: Annotated[
        int, typer.Option("--evaluate-every", min=0, help="Steps between evaluations; 0 for none.")
    ] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 leaves it.")] = 0,
) -> None:
    """Train a model from a recipe."""
    from yggdrasil.cli.train import run

    run(recipe, output, resume=resume, evaluate_every=evaluate_every, threads=threads)


@app.command()
def demo(
    output: Pictures = Path("pictures"),
) -> None:
    """Make a sheet of pictures with the model in the box."""
    from yggdrasil.cli.demo import run

    run(output)


@app.command()
def blocks(
    name: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Argument(
            help="A type, for its ops and ports.", autocompletion=completing.block_names
        ),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List the block types, or show one."""
    if name is None:
        from yggdrasil.cli.listing import show_blocks

        show_blocks(json=json)
    else:
        from yggdrasil.cli.block import show_block

        show_block(name, json=json)


@app.command()
def templates(*, json: Json = False) -> None:
    """List the templates and their tasks."""
    from yggdrasil.cli.listing import show_templates

    show_templates(json=json)


@app.command()
def info(*, json: Json = False) -> None:
    """Show versions, devices, memory, and the models on this machine."""
    from yggdrasil.cli.info import run

    run(json=json)


@graph_app.command("draw")
def graph_draw(
    source: Graph,
    *,
    form: Annotated[str, typer.Option("--format", "-f", help="mermaid or svg.")] = "mermaid",
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads it at run time
        typer.Option("--output", "-o", dir_okay=False, help="File to write; the terminal if none."),
    ] = None,
) -> None:
    """Draw a graph."""
    from yggdrasil.cli.graphs import draw

    draw(source, form, output)


@graph_app.command("explain")
def graph_explain(
    source: Graph,
    port: Annotated[str, typer.Argument(help="An input, such as backbone.sample.")],
    *,
    json: Json = False,
) -> None:
    """Say which rule feeds an input, and what it passed over."""
    from yggdrasil.cli.graphs import explain

    explain(source, port, json=json)


@hub_app.command("list")
def hub_list(*, json: Json = False) -> None:
    """List the models that are known by their ids."""
    from yggdrasil.cli.hub import show_models

    show_models(json=json)


@hub_app.command("resolve")
def hub_resolve(
    model: Annotated[str, typer.Argument(help="A hub id, a folder or a .safetensors file.")],
    *,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the hub; else only what is on this machine.")
    ] = False,
    json: Json = False,
) -> None:
    """Say which template a model is for, and which fact says so."""
    from yggdrasil.cli.hub import show_resolution

    show_resolution(model, online=online, json=json)


@hub_app.command("check")
def hub_check(*, json: Json = False) -> None:
    """Build every registered model at full size without weights, and plan its tasks."""
    from yggdrasil.cli.hub import check

    check(json=json)
