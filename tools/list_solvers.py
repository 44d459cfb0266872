"""Writes the tables of docs/solvers.md.

python -m tools.list_solvers
"""

from __future__ import annotations

from pathlib import Path

from yggdrasil.blocks.configuration import constructor_defaults
from yggdrasil.blocks.solver.catalog import SOLVERS
from yggdrasil.blocks.solver.not_driven import NOT_DRIVEN
from yggdrasil.blocks.solver.scheduled import ScheduledSolver
from yggdrasil.blocks.solver.shell import can_noise
from yggdrasil.core.registry import block_types

PAGE = Path(__file__).parents[1] / "docs" / "solvers.md"
_BEGIN, _END = "<!-- tables: python -m tools.list_solvers -->", "<!-- end of tables -->"
_OF_THE_MODEL = frozenset(
    {"beta_end", "beta_schedule", "beta_start", "num_train_timesteps", "trained_betas"}
)


def page(text: str) -> str:
    """Gives the page with its tables as they must be.

    Args:
        text: The page as it is.
    """
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{_tables()}\n{_END}{after}"


def _tables() -> str:
    native = {
        name: cls
        for name, cls in block_types().items()
        if name.startswith("solver/native_") and issubclass(cls, ScheduledSolver)
    }
    parts = [
        *_head("solver", "scheduler of Diffusers", "takes", "options"),
        *(_row(name, cls) for name, cls in SOLVERS.items()),
        "",
        "## On tensors",
        "",
        *_head("solver", "schedules of", "takes", "options it is bound to"),
        *(_native_row(name, cls) for name, cls in native.items()),
        "",
        "## No solvers",
        "",
        *_head("scheduler of Diffusers", "why"),
        *(f"| `{name}` | {reason} |" for name, reason in NOT_DRIVEN.items()),
        "",
    ]
    return "\n".join(parts)


def _head(*columns: str) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"


def _row(name: str, cls: type[ScheduledSolver]) -> str:
    scheduler = cls.scheduler_class()
    own = [f"`{option}={value}`" for option, value in cls.own_options.items()]
    known = constructor_defaults(scheduler)
    options = [f"`{each}`" for each in known if each not in _OF_THE_MODEL | set(cls.own_options)]
    return f"| `{name}` | `{scheduler.__name__}` | {_takes(cls)} | {', '.join(own + options)} |"


def _native_row(name: str, cls: type[ScheduledSolver]) -> str:
    supported = getattr(cls, "supported", {})
    bound = [
        f"`{option}`: {' or '.join(f'`{value}`' for value in values)}"
        for option, values in supported.items()
    ]
    return f"| `{name}` | `{cls.scheduler_class().__name__}` | {_takes(cls)} | {'; '.join(bound)} |"


def _takes(cls: type[ScheduledSolver]) -> str:
    words = [word for word in ("timesteps", "sigmas") if word in cls.schedules()]
    return ", ".join([*words, *(["a picture"] if can_noise(cls.scheduler_class()) else [])])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
