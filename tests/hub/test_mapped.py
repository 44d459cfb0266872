from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from yggdrasil.hub.mapped import MappedFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")

TENSORS = {
    "half": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4),
    "matrix": torch.randn(5, 7),
    "number": torch.tensor(3),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "no suffix, as in the hub's cache"
    save_file(TENSORS, path)
    return path


def test_views_of_a_file_are_read_from_it(file):
    views = load_file(file)
    mapped = MappedFiles.now()
    for name, view in views.items():
        fresh = mapped.read(view)
        assert torch.equal(fresh, TENSORS[name])
        assert (fresh.dtype, fresh.shape) == (view.dtype, view.shape)
        assert fresh.data_ptr() != view.data_ptr()


def test_what_was_written_to_is_not_read(file):
    view = load_file(file)["matrix"]
    view.add_(1.0)
    assert MappedFiles.now().read(view) is None


def test_what_is_no_view_of_a_file_is_not_read(file):
    views = load_file(file)
    mapped = MappedFiles.now()
    assert mapped.read(torch.randn(3)) is None
    assert mapped.read(views["matrix"].T) is None
    assert mapped.read(torch.empty(0)) is None


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_is_not_read(file, replaced):
    view = load_file(file)["matrix"]
    file.rename(file.with_name("old"))
    mapped = MappedFiles.now()
    file.with_name("old").unlink()
    if replaced:
        file.with_name("old").write_bytes(b"something else")
    assert mapped.read(view) is None
