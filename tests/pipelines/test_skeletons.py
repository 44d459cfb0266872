"""Registered configurations build at full size without weights, as large as the real models."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from yggdrasil.core.errors import ModelError
from yggdrasil.core.template_sources import template_names
from yggdrasil.hub import config_library
from yggdrasil.hub.config_library import ConfigLibrary
from yggdrasil.hub.config_sets import config_sets
from yggdrasil.hub.pipeline_classes import tasks_by_class
from yggdrasil.hub.registry import MODEL_REGISTRY
from yggdrasil.pipelines.skeletons import check_set, skeleton_of

SETS = config_sets()

# Billions of the models that are run in each step, as those who made them say: Podell et al. 2023,
# arXiv:2307.01952, table 1; Esser et al. 2024, arXiv:2403.03206; the README files of
# github.com/black-forest-labs/flux and flux2 and the names of the klein models.
SAID = {
    "sd1": ("unet", 0.86), "sd2": ("unet", 0.865), "sdxl": ("unet", 2.6),
    "sd3": ("transformer", 2), "sd35_large": ("transformer", 8), "flux_dev": ("transformer", 12),
    "flux2_dev": ("transformer", 32), "flux2_klein_4b": ("transformer", 4),
    "flux2_klein_9b": ("transformer", 9),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_registered_model_builds_and_its_tasks_are_planned(name):
    """Where a template is not there yet the models are built; it is held to it once it is."""
    checked = check_set(name)
    assert checked.fault is None
    assert checked.parameters > 50e6
    if checked.pipeline in tasks_by_class():
        assert checked.task in checked.planned
        assert min(checked.planned.values()) >= 2
    else:
        assert checked.template is None


def test_a_family_with_a_template_has_its_models_planned():
    for entry in MODEL_REGISTRY.entries:
        if entry.configs is not None and entry.task is not None:
            assert SETS[entry.configs].pipeline == entry.pipeline
            assert entry.template in template_names()


def test_every_template_is_planned_at_full_size():
    assert {check_set(name).template for name in SETS} >= set(template_names())


def test_every_task_is_for_some_registered_model():
    planned = {(c.template, task) for c in map(check_set, SETS) for task in c.planned}
    registered = {entry.template for entry in MODEL_REGISTRY.entries if entry.task is not None}
    assert {each for each in tasks_by_class().values() if each[0] in registered} <= planned


@pytest.mark.parametrize("name", sorted(SETS))
def test_each_configuration_says_where_it_is_from_and_is_somebodys(name):
    assert all(len(each.source) > 20 for each in SETS[name].components.values())
    assert any(entry.configs == name for entry in MODEL_REGISTRY.entries)


@pytest.mark.parametrize(("name", "said"), SAID.items())
def test_a_registered_model_is_as_large_as_the_real_one(name, said):
    component, billions = said
    only = replace(SETS[name], components={component: SETS[name].components[component]})
    (model,) = models(name, replace(only, pipeline=None))
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.04)
    assert {p.device.type for p in model.parameters()} == {"meta"}


def models(name, configs):
    from yggdrasil.pipelines import skeletons

    return list(skeletons._models(ConfigLibrary(name, configs)))


# -- faults ----------------------------------------------------------------------------------------


def broken(monkeypatch, component, **changes):
    """Registers a set with one component of SDXL's changed, or taken out."""
    components = dict(SETS["sdxl"].components)
    old = components.pop(component)
    if changes:
        components[component] = replace(old, **changes)
    sets = {"broken": replace(SETS["sdxl"], components=components)}
    monkeypatch.setattr(config_library, "config_sets", lambda: MappingProxyType(sets))
    return check_set("broken")


def test_a_value_that_a_class_does_not_know_is_a_fault(monkeypatch):
    values = {**SETS["sdxl"].components["unet"].values, "in_chanels": 4}
    found = broken(monkeypatch, "unet", values=values)
    assert "UNet2DConditionModel has no 'in_chanels'" in found.fault
    assert "Did you mean 'in_channels'" in found.fault
    assert found.planned == {}


def test_values_that_do_not_go_together_are_a_fault(monkeypatch):
    values = {**SETS["sdxl"].components["unet"].values, "down_block_types": ["DownBlock2D"]}
    found = broken(monkeypatch, "unet", values=values)
    assert "UNet2DConditionModel cannot be made from its configuration" in found.fault


def test_a_model_of_another_class_is_a_fault(monkeypatch):
    found = broken(monkeypatch, "text_encoder", class_name="T5EncoderModel")
    assert "is a T5EncoderModel, and the graph has a block for CLIPTextModel" in found.fault


def test_a_component_that_is_missing_is_a_fault(monkeypatch):
    assert "has no 'vae', which node 'vae' needs" in broken(monkeypatch, "vae").fault


def test_a_skeleton_holds_models_without_weights():
    pipe = skeleton_of(ConfigLibrary.open("sdxl_refiner"))
    unet = pipe.graph.block("unet").unet
    assert unet.config.block_out_channels == [384, 768, 1536, 1536]
    assert {p.device.type for p in unet.parameters()} == {"meta"}


def test_a_set_that_is_not_registered_gives_the_nearest():
    with pytest.raises(ModelError, match=r"no registered configurations 'sdxl_refine'\. Did you"):
        ConfigLibrary.open("sdxl_refine")
