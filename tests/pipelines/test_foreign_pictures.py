"""A picture that is foreign, changed or hostile is refused, and nothing is run or fetched."""

from __future__ import annotations

import base64
import copy
import inspect
import json
import struct
import zlib

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

from tests.pipelines.conftest import quiet
from tests.pipelines.pictures import picture
from yggdrasil import InferencePipeline
from yggdrasil.core import executor
from yggdrasil.core.errors import (
    ConfigError,
    GraphFileError,
    InputError,
    ModelError,
    YggdrasilError,
)
from yggdrasil.pipelines.rerun import rerun
from yggdrasil.pipelines.workflows.pictures import _record_hash
from yggdrasil.pipelines.workflows.stores import PictureStore, content_hash
from yggdrasil.pipelines.workflows.values import GeneratorState, decode, encode


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    """Gives a picture that YggDrasil wrote."""
    pipe = quiet(InferencePipeline.from_pretrained(tiny_folder("sd15")))
    result = pipe("a cat", image=picture(), strength=1.0, seed=1, num_inference_steps=1)
    (path,) = result.save(tmp_path_factory.mktemp("made") / "made.png")
    return path


@pytest.fixture
def untouched(monkeypatch):
    """Has the test fail if anything is run, loaded or fetched."""

    def refuse(*_, **__):
        pytest.fail("something was run or fetched")

    monkeypatch.setattr(executor, "execute", refuse)
    monkeypatch.setattr("yggdrasil.core.runtime.execute", refuse)
    monkeypatch.setattr("yggdrasil.hub.sources.FolderSource.load", refuse)
    monkeypatch.setattr("yggdrasil.hub.snapshot.snapshot_download", _cache_only)


def _cache_only(model, *, revision, local_files_only, **_):
    """Stands for the hub's client: it may be asked what the cache holds, which is nothing."""
    assert local_files_only, f"the hub was asked for {model}"
    raise LocalEntryNotFoundError(f"{model} at {revision} is not in the cache")


pytestmark = pytest.mark.usefixtures("untouched")


def record_of(path):
    with Image.open(path) as image:
        return json.loads(image.info["yggdrasil"])


def write(path, told, *, honest=True, image=None):
    """Writes a picture with a record, whose hash is right where a clever forger wrote it."""
    if honest and isinstance(told, dict):
        told = {**told, "sha256": _record_hash(told["record"])}
    info = PngInfo()
    info.add_text("yggdrasil", told if isinstance(told, str) else json.dumps(told))
    (image or Image.new("RGB", (64, 64))).save(path, pnginfo=info)
    return path


@pytest.fixture
def forge(made, tmp_path):
    """Gives a function that writes the picture with another record."""

    def make(change, **options):
        told = copy.deepcopy(record_of(made))
        change(told["record"])
        with Image.open(made) as image:
            return write(tmp_path / "forged.png", told, image=image.copy(), **options)

    return make


# -- foreign ---------------------------------------------------------------------------------------


def test_a_picture_without_a_record_says_what_was_seen(tmp_path):
    info = PngInfo()
    info.add_text("parameters", "a cat, Steps: 20")
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png", pnginfo=info)
    with pytest.raises(GraphFileError, match=r"no record.*'parameters', as pictures of AUTO"):
        rerun(tmp_path / "other.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.jpg")
    with pytest.raises(GraphFileError, match="carries no record of YggDrasil, so there is nothing"):
        rerun(tmp_path / "bare.jpg")


def test_what_is_no_picture_is_refused(tmp_path, made):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(GraphFileError, match=r"text\.png cannot be read as a picture"):
        rerun(tmp_path / "text.png")
    (tmp_path / "cut.png").write_bytes(made.read_bytes()[:-500])
    with pytest.raises(GraphFileError, match=r"cut\.png cannot be read as a picture"):
        rerun(tmp_path / "cut.png")
    with pytest.raises(GraphFileError, match=r"none\.png cannot be read: No such file"):
        rerun(tmp_path / "none.png")
    # Pillow would start another program to read this.
    (tmp_path / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(GraphFileError, match="cannot be read as a picture"):
        rerun(tmp_path / "drawing.png")


@pytest.mark.parametrize("keyword", [b"yggdrasil", b"other"])
def test_a_text_that_would_fill_the_memory_is_refused(made, tmp_path, keyword):
    packed = zlib.compress(b" " * 2**26)
    body = b"zTXt" + keyword + b"\x00\x00" + packed
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = made.read_bytes()
    (tmp_path / "bomb.png").write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(GraphFileError, match="cannot be read as a picture"):
        rerun(tmp_path / "bomb.png")


# -- changed ---------------------------------------------------------------------------------------


def test_a_picture_that_was_painted_on_is_refused(made, tmp_path):
    with Image.open(made) as image:
        changed = image.copy()
    changed.putpixel((3, 3), (0, 0, 0))
    path = write(tmp_path / "painted.png", record_of(made), image=changed)
    with pytest.raises(
        GraphFileError, match="was changed after it was written: the picture itself"
    ):
        rerun(path)


def test_a_record_that_was_edited_is_refused(forge):
    path = forge(lambda record: record["inputs"].update(prompt="a dog"), honest=False)
    with pytest.raises(
        GraphFileError, match=r"changed after.*: the record of what made it.*--allow"
    ):
        rerun(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its record is damaged"),
        ("[]", "its record is damaged: it lacks parts"),
        ('{"record": {}, "inside": {}}', "its record is damaged: it lacks parts"),
        ('{"record": {"picture": 1, "workflow": 1}, "inside": {}}', "at picture: "),
        ("[" * 100_000, "its record is damaged"),
        (" " * 9 * 2**20, "its record has 9,437,184 bytes, which none has"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, text, message):
    with pytest.raises(GraphFileError, match=message):
        rerun(write(tmp_path / "damaged.png", text))


def test_a_record_of_another_version_is_refused(forge):
    path = forge(lambda record: record.update(workflow=2))
    with pytest.raises(GraphFileError, match=r"at workflow: .*written by another version of"):
        rerun(path)


def test_inputs_with_another_hash_are_refused(made, tmp_path):
    told = record_of(made)
    told["inside"] = dict.fromkeys(told["inside"], "AAAA")
    with Image.open(made) as image:
        path = write(tmp_path / "swapped.png", told, image=image.copy())
    with pytest.raises(GraphFileError, match="input 'image': what is kept has another hash"):
        rerun(path)


# -- hostile ---------------------------------------------------------------------------------------


def put(*path, value):
    """Gives the change that puts a value somewhere into a record."""

    def change(record):
        for key in path[:-1]:
            record = record.setdefault(key, {})
        record[path[-1]] = value

    return change


def _not_arguments():
    """Gives what a call takes that is no data."""
    taken = inspect.signature(InferencePipeline.__call__).parameters.keys()
    return sorted(taken - {"prompt", "seed", "generator", "output_type", "arguments"})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (put("model", value="org/never-fetched"), ModelError, "'org/never-fetched' is not on this"),
        (
            put("model", value={"name": "org/m", "revision": "../../../x"}),
            ModelError,
            "no revision '../../../x'",
        ),
        (put("model", value="//server/share"), ModelError, "lies on another machine"),
        (put("model", value="\\\\server\\share"), ModelError, "lies on another machine"),
        (put("model", value="/\\server/share"), ModelError, "lies on another machine"),
        (put("model", value="x" * 5000), ModelError, "'x+' cannot be the name of a model"),
        (put("model", value="x/" + "y" * 5000), ModelError, "cannot be the name of a model"),
        (put("model", value="~nobody-here/x"), ModelError, "cannot be the name of a model"),
        (put("model", value="../secrets"), ModelError, "a path that is relative to nothing"),
        (put("model", value="a/.."), ModelError, "neither a folder here nor a name of the hub|no "),
        (
            put("graph", "nodes", "vae", "pretrained", value="org/never-fetched"),
            ModelError,
            "'org/never-fetched' is not on this machine, and nothing is fetched unasked.*--allow-d",
        ),
        (
            put("components", value={"vae.vae": {"model": "org/never-fetched"}}),
            ModelError,
            "'org/never-fetched' is not on this",
        ),
        (
            put(
                "components",
                value={"text.text_encoder": {"config": {"_attn_implementation": "org/kernel"}}},
            ),
            GraphFileError,
            "component 'text_encoder' says _attn_implementation: 'org/kernel', and a model may not",
        ),
        (
            put("components", value={"vae.vae": {"config": {"layers_per_block": 10**8}}}),
            GraphFileError,
            "component 'vae' has 'layers_per_block' in its configuration with a number above 10,0",
        ),
        (
            put("graph", "nodes", "solver", "num_train_timesteps", value=10**10),
            GraphFileError,
            "a node has 'num_train_timesteps' in its configuration with a number above 10,000,000",
        ),
        (
            put("components", value={"text.tokenizer": {"config": {"vocab_file": "/etc/passwd"}}}),
            ConfigError,
            "A CLIPTokenizer is not made from a configuration",
        ),
        (
            put(
                "graph", "nodes", "text", "components",
                value={"text_encoder": {"config": {"inner": [{"attn_implementation": "a/b"}]}}},
            ),
            GraphFileError,
            "component 'text_encoder' says inner.*attn_implementation: 'a/b', and a mod",
        ),
        (
            put("components", value={"vae.vae": {"folder": "vae"}}),
            GraphFileError,
            "names the folder 'vae', and a picture has none",
        ),
        (
            put("components", value={"vae.vea": {"model": "zoo/shapes"}}),
            GraphFileError,
            "'components' names 'vae.vea', which is no component of the graph.*'vae.vae'",
        ),
        (
            put("graph", "nodes", "vae", "type", value="os/system"),
            GraphFileError,
            "No block of type 'os/system' is registered",
        ),
        (
            put("graph", "nodes", "vae", "type", value="codec/../../autoencoder_kl"),
            GraphFileError,
            "No block of type",
        ),
        (
            put("graph", "nodes", "vae", "type", value="codec.x/.y"),
            GraphFileError,
            "No block of type|cannot be built",
        ),
        (
            put("graph", "nodes", "image", "resample", value=[1]),
            GraphFileError,
            "its graph cannot be built: TypeError",
        ),
        (put("graph", "nodes", "vae", "self", value=1), GraphFileError, "graph cannot be built"),
        (
            put("graph", "edges", value=["vae.decode.image -> nothing.at.all"]),
            GraphFileError,
            "has no node 'nothing'",
        ),
        (
            put("inputs", "image", value={"$picture": {"file": "/etc/passwd"}}),
            GraphFileError,
            "is no hash with a suffix",
        ),
        (
            put("inputs", "image", value={"$picture": {"sha256": "../x", "suffix": "png"}}),
            GraphFileError,
            "is no hash with a suffix",
        ),
        (
            put("inputs", "image", value={"$picture": {"sha256": "0" * 64, "suffix": "p/../x"}}),
            GraphFileError,
            "is no hash with a suffix",
        ),
        (
            put("inputs", "image", value={"$pickle": {"data": ""}}),
            GraphFileError,
            r"'image': \['\$pickle'\] stands for no value.*'\$picture'",
        ),
        (
            put("inputs", "generator", value={"$generator": {"device": "cpu", "seed": "x"}}),
            GraphFileError,
            "input 'generator' is no generator",
        ),
        (
            put("inputs", "generator", value={"$generator": {"device": "hpu", "seed": 1}}),
            GraphFileError,
            "input 'generator' lies on 'hpu', a device that this machine does not have",
        ),
        (
            put("inputs", "generator", value={"$random": {"cpu": {"a": 1}}}),
            GraphFileError,
            r"input 'generator'\.cpu is no generator",
        ),
        (put("device", value="cuda:77"), InputError, "'cuda:77', which this machine does not have"),
        (put("device", value="meta"), InputError, "'meta', which this machine does not have"),
        (put("device", value="hpu"), InputError, "'hpu', which this machine does not have"),
        (put("device", value="nonsense"), InputError, "'nonsense', which this machine does not"),
        (put("dtype", value="__class__"), GraphFileError, "at dtype: "),
        (put("picture", "index", value=-1), GraphFileError, "at picture.index: "),
        (put("callbacks", value="os.system"), GraphFileError, "at callbacks: Extra inputs"),
    ],
)  # fmt: skip
def test_a_hostile_record_is_refused(forge, change, error, message):
    with pytest.raises(error, match=message):
        rerun(forge(change))


@pytest.mark.parametrize("name", _not_arguments())
def test_only_arguments_are_inputs(forge, name):
    with pytest.raises(GraphFileError, match=f"{name!r} is no input: it is for the program that"):
        rerun(forge(put("inputs", name, value=False)))


@pytest.mark.parametrize("depth", [150, 500])
@pytest.mark.parametrize("kind", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_record_that_is_nested_deeply_is_refused(made, tmp_path, depth, kind):
    nested = None
    for _ in range(depth):
        nested = kind(nested)
    told = record_of(made)
    put("inputs", "prompt", value=nested)(told["record"])
    with pytest.raises(GraphFileError, match=r"it is nested more than 100 deep|is damaged: maxi"):
        rerun(write(tmp_path / "deep.png", told, honest=False))


def test_a_state_that_leads_out_of_the_generators_memory_is_refused(made, tmp_path):
    """PyTorch takes it, and then draws what lies behind the words of the generator."""
    state = torch.Generator().manual_seed(1).get_state()
    state[8:12] = torch.tensor([624], dtype=torch.int32).view(torch.uint8)
    state[16:24] = torch.tensor([624], dtype=torch.int64).view(torch.uint8)
    torch.Generator().set_state(state)  # this is why
    told = record_of(made)
    data = save({"value": state})
    told["inside"][content_hash(data)] = base64.b64encode(data).decode()
    reference = {"$tensor": {"sha256": content_hash(data), "suffix": "safetensors"}}
    del told["record"]["inputs"]["seed"]
    for value in (
        {"$generator": {"device": "cpu", "state": reference}},
        {"$random": {"cpu": reference}},
    ):
        put("inputs", "generator", value=value)(told["record"])
        with Image.open(made) as image:
            path = write(tmp_path / "state.png", told, image=image.copy())
        with pytest.raises(GraphFileError, match="is no generator: 624 words are left at word 624"):
            rerun(path)


@pytest.mark.parametrize("draws", [0, 1, 3, 623, 624, 625, 1247, 1248, 1249])
def test_states_that_generators_come_to_are_taken(draws):
    """After any number of draws, in each of the ways that PyTorch draws."""
    for draw in (torch.rand, torch.randn, _whole):
        generator = torch.Generator().manual_seed(1)
        draw(draws, generator=generator)
        store = PictureStore()
        told = encode(GeneratorState.of(generator), store, "generator")
        again = decode(told, _kept(store), "generator")
        assert torch.equal(again.get_state(), generator.get_state())


def _whole(count, generator):
    return torch.randint(9, (count,), generator=generator)


def _kept(store):
    inside, _ = store.divide(2**20)
    return PictureStore(None, inside)


def test_whatever_a_record_says_the_answer_is_a_refusal(made, tmp_path):
    """Each part of the record is replaced by odd things, one at a time."""
    told = record_of(made)
    odd = [None, [], {}, "", "x" * 50, -1, 1.5, True, {"a": {"b": []}}, ["x", {}]]
    places = [
        ("graph", "nodes"), ("graph", "nodes", "vae"), ("graph", "nodes", "vae", "type"),
        ("graph", "outputs"), ("graph", "schema"), ("graph", "tasks"), ("graph", "edges"),
        ("graph", "rules"), ("inputs",), ("components",), ("state",), ("model",), ("graph",),
        ("inputs", "image"), ("inputs", "seed"), ("task",), ("device",), ("picture",),
    ]  # fmt: skip
    with Image.open(made) as image:
        shown = image.copy()
    path = tmp_path / "odd.png"
    for place in places:
        for value in odd:
            changed = copy.deepcopy(told)
            put(*place, value=value)(changed["record"])
            try:
                rerun(write(path, changed, image=shown))
            except YggdrasilError:
                continue
            except pytest.fail.Exception:
                # It would run: a null seed and an empty list of edges make sense, and pictures
                # are looked at by blocks.
                assert place[-1] in {
                    "edges", "components", "model", "device", "seed", "task", "rules", "state",
                    "image",
                }, (place, value)  # fmt: skip
