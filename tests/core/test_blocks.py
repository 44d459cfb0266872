from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from tests.core import toys
from yggdrasil.core.block import AbstractBaseBlock
from yggdrasil.core.component import Component, ComponentSource, Given
from yggdrasil.core.errors import ConfigError, NotLoadedError, RegistryError, nearest
from yggdrasil.core.registry import block_class, block_types, make_block, register_block


class Configured(AbstractBaseBlock):
    def __init__(self, a: int, b: int = 2, *, c: str = "x", **more: float) -> None:
        self.a = a


def test_the_constructor_is_recorded_with_its_defaults():
    assert dict(Configured(1, c="y", d=0.5).config) == {"a": 1, "b": 2, "c": "y", "d": 0.5}
    assert repr(toys.Add(3.0)) == "Add(n=3.0, tag='add')"


def test_a_block_is_a_module_without_calling_super():
    block = toys.Weigh()
    assert isinstance(block, nn.Module)
    assert list(dict(block.named_parameters())) == ["weight"]
    assert torch.equal(copy.deepcopy(block).weight, block.weight)
    assert dict(pickle.loads(pickle.dumps(block)).config) == {"start": 2.0}  # noqa: S301


def test_wrong_arguments_are_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"toy/add: .*'m'.*"):
        toys.Add(m=3)
    with pytest.raises(ConfigError, match="Did you mean 'tag'"):
        toys.Add(tagg="x")
    with pytest.raises(ConfigError, match="missing a required argument: 'a'"):
        Configured()
    with pytest.raises(ConfigError, match="toy/double"):
        toys.Double(1)


def test_a_component_is_loaded_once_on_the_first_touch():
    source = toys.Counted()
    text = toys.Text().load_from(tokenizer=source)
    assert isinstance(source, ComponentSource)
    assert text.component_config("tokenizer") == {"width": 3}
    assert source.loads == 0
    assert text.tokenizer is text.tokenizer
    assert source.loads == 1


def test_loading_anew_forgets_what_was_held():
    text = toys.Text().load_from(tokenizer=toys.Counted())
    first = text.tokenizer
    text.load_from(tokenizer=toys.Counted())
    assert text.tokenizer is not first


def test_a_given_component_is_shared():
    value = toys._Tokenizer()
    text = toys.Text().give(tokenizer=value)
    assert text.tokenizer is value
    assert text.component_config("tokenizer") == {"width": 3}
    assert text.sources["tokenizer"].describe() == {"given": "tests.core.toys._Tokenizer"}


def test_given_modules_are_submodules_and_follow_the_placement():
    class Holder(AbstractBaseBlock):
        model = Component(lambda: nn.Linear, folder="net")

    holder = Holder()
    holder.place(None, torch.float64)
    holder.load_from(model=Given(nn.Linear(2, 2)))
    assert Holder.model.folder == "net"
    assert Holder.model.cls is nn.Linear
    assert holder.model.weight.dtype == torch.float64
    assert len(list(holder.parameters())) == 2


def test_an_empty_slot_is_an_error_unless_it_is_optional():
    text = toys.Text()
    assert text.extra is None
    with pytest.raises(NotLoadedError, match=r"no 'tokenizer'.*pretrained=.*give\(tokenizer="):
        _ = text.tokenizer
    with pytest.raises(NotLoadedError):
        text.component_config("tokenizer")


def test_an_unknown_slot_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'tokenizer'"):
        toys.Text().give(tokeniser=1)
    with pytest.raises(ConfigError, match="Text has no component 'vae'"):
        toys.Text().load_from(vae=toys.Counted())


def test_types_are_found_and_made_by_name():
    assert block_class("toy/add") is toys.Add
    assert make_block("toy/add", n=5.0).n == 5.0
    assert "toy/add" in block_types()
    assert toys.Add.type_name == "toy/add"


def test_an_unknown_type_is_named_with_the_nearest():
    with pytest.raises(RegistryError, match=r"No block of type 'toy/ad' .*Did you mean 'toy/add'"):
        make_block("toy/ad")


@pytest.mark.parametrize("name", ["toy", "a/b/c", "/x", "x/"])
def test_a_type_has_a_role_and_a_name(name):
    with pytest.raises(RegistryError, match="is named 'role/name'"):
        register_block(name)


def test_two_classes_cannot_have_one_name():
    with pytest.raises(RegistryError, match=r"registered by tests.core.toys.Add already"):

        @register_block("toy/add")
        class Other(AbstractBaseBlock): ...


def test_a_module_read_again_registers_again():
    again = type("Add", (AbstractBaseBlock,), {"__qualname__": "Add"})
    try:
        register_block("toy/add")(again)
        assert block_class("toy/add") is again
    finally:
        register_block("toy/add")(toys.Add)


def test_nearest_lists_what_there_is_when_nothing_is_near():
    assert nearest("zzz", []) == ""
    assert nearest("zzz", ["a", "b"]) == " Known: 'a', 'b'."
    assert nearest("zzz", map(str, range(9))).endswith("and 4 more.")
    assert nearest("colour", ["color", "size"]) == " Did you mean 'color'?"


def test_the_version_of_weights_changes_with_them():
    block = toys.Weigh()
    before = block.weights_version()
    assert block.weights_version() == before
    with torch.no_grad():
        block.weight.add_(1)
    assert block.weights_version() != before
    before = block.weights_version()
    block.weight = nn.Parameter(torch.tensor(9.0))
    assert block.weights_version() != before


def test_new_weights_at_an_old_address_are_new():
    block, seen = toys.Weigh(), set()
    for _ in range(30):
        del block.weight
        block.weight = nn.Parameter(torch.zeros(1000))
        assert block.weights_version() not in seen
        seen.add(block.weights_version())
