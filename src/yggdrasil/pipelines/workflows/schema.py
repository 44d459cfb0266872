"""What a workflow says, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from yggdrasil.hub.references import ModelReference
from yggdrasil.pipelines.placement.remembered import REMEMBERED

__all__ = ["NO_INPUTS", "ComponentOrigin", "Model", "Picture", "Workflow"]

NO_INPUTS = (
    "self",
    "return_dict",
    "observers",
    "cancelled",
    "preview",
    "callback_on_step_end",
    "callback_on_step_end_tensor_inputs",
)
"""What a call takes that is no data: files and command lines do not say it."""

_Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_DTYPES = ("float16", "bfloat16", "float32", "float64")
_MOST_LEVELS = 100  # what reads it calls itself for each


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Model(_Part):
    """A model by name; see ``ModelReference``."""

    name: str
    revision: str | None = None
    variant: str | None = None
    subfolder: str | None = None
    config: str | None = None
    prediction_type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_serializer
    def _write_name(self) -> Any:
        given = {key: value for key, value in self if value is not None}
        return given if len(given) > 1 else self.name

    @classmethod
    def of(cls, reference: ModelReference) -> Self:
        """Makes it of a reference."""
        return cls(**asdict(reference))

    def reference(self) -> ModelReference:
        """Gives the reference."""
        return ModelReference(**dict(self))


class ComponentOrigin(_Part):
    """Where one component comes from, if not from the workflow's model; one of four.

    Attributes:
        model: Another model.
        folder: A folder among the workflow's files.
        config: A configuration, from which it is made.
        given: It was handed in as an object of this class, and no file is known.
        seed: With ``config``: of the initial weights.
        zero: With ``config``: ends of the names of layers that begin at zero.
    """

    model: Model | None = None
    folder: _Folder | None = None
    config: dict[str, Any] | None = None
    given: str | None = None
    seed: int = Field(default=0, ge=-(2**63), lt=2**64)
    zero: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        said = [
            key for key in ("model", "folder", "config", "given") if getattr(self, key) is not None
        ]
        if len(said) != 1:
            raise ValueError(
                "a component comes from one of model, folder, config and given, and this says "
                f"{' and '.join(said) or 'none'}"
            )
        return self


class Picture(_Part):
    """Which picture of a call's a record is about.

    Attributes:
        index: Its place.
        pixels: SHA-256 of mode, size and pixels.
        lossy: Whether the file holds other pixels, as JPEG does.
    """

    index: int = Field(ge=0)
    pixels: str
    lossy: bool = False


class Workflow(_Part):
    """A graph with its inputs.

    Attributes:
        version: 1 (``workflow`` in the file).
        task: A task in place of choosing by the inputs.
        model: What fills the components that nothing else is said of.
        without: Components of the model that were left out, such as its safety checker.
        device: Where it ran, such as ``cuda:0``.
        dtype: Of the weights; float32 if none.
        memory: Options of memory that change numbers: methods of the pipeline with their arguments.
        inputs: The arguments of the call.
        graph: As a graph file says it.
        components: By ``node.slot``: where others come from.
        state: By node: the weights of blocks that are no components.
        weights: By ``node.slot``: digests of the weights that it ran with.
        versions: Of the libraries that it ran with.
        machine: What it ran on.
        watched: What was told of each step and may have changed something: no file holds it.
        lost: By name: what the call was given that no file holds, and why.
        picture: For a record inside a picture.
    """

    version: Literal[1] = Field(alias="workflow")
    task: str | None = None
    model: Model | None = None
    without: tuple[str, ...] = ()
    device: str | None = None
    dtype: str | None = None
    memory: dict[str, dict[str, Any]] = Field(default_factory=dict)
    inputs: dict[str, Any] = Field(default_factory=dict)
    graph: dict[str, Any] = Field(default_factory=dict)
    components: dict[str, ComponentOrigin] = Field(default_factory=dict)
    state: dict[str, dict[str, Any]] = Field(default_factory=dict)
    weights: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: str | None = None
    watched: tuple[str, ...] = ()
    lost: dict[str, str] = Field(default_factory=dict)
    picture: Picture | None = None

    @field_validator("dtype")
    @classmethod
    def _check_dtype(cls, value: str | None) -> str | None:
        if value is not None and value not in _DTYPES:
            raise ValueError(f"weights are in one of {', '.join(_DTYPES)}")
        return value

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not value.keys() <= set(REMEMBERED):
            raise ValueError(f"options of memory are {', '.join(REMEMBERED)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _check_depth(cls, value: Any) -> Any:
        level = [value]
        for _ in range(_MOST_LEVELS):
            inner = [each for each in level if isinstance(each, Mapping | list)]
            level = [
                part
                for each in inner
                for part in (each.values() if isinstance(each, Mapping) else each)
            ]
        if level:
            raise ValueError(f"it is nested more than {_MOST_LEVELS} deep")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.graph and "graph" not in self.lost:
            raise ValueError("a workflow wants a 'graph': what graph.to_yaml() writes")
        for name in self.inputs:
            if name in NO_INPUTS:
                raise ValueError(f"{name!r} is no input: it is for the program that makes a call")
        return self

    def data(self) -> dict[str, Any]:
        """Gives it as plain data, without what is empty."""
        return {"workflow": self.version, **self.model_dump(by_alias=True, exclude_defaults=True)}
