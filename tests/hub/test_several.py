"""Several components of one kind in an index, told apart and joined again."""

from __future__ import annotations

from yggdrasil.hub.several import join_index, split_index

PLAIN, UNION = ["diffusers", "ControlNetModel"], ["diffusers", "ControlNetUnionModel"]


def test_two_of_one_class_are_one_entry_and_come_back():
    split = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "controlnet": PLAIN,
        "controlnet_1": PLAIN,
    }
    joined = join_index(split)
    assert joined["controlnet"] == ["diffusers", "MultiControlNetModel"]
    assert "controlnet_1" not in joined
    assert split_index(joined, {"controlnet_1"}.__contains__) == split


def test_two_of_different_classes_stay_apart():
    split = {"controlnet": PLAIN, "controlnet_1": UNION}
    assert join_index(split) == split
