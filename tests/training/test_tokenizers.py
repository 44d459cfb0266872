from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from yggdrasil.core.errors import ConfigError
from yggdrasil.pipelines.recipes import find_recipe, read_recipe
from yggdrasil.training.tokenizers import word_tokenizer

WORDS = ("red", "circle", "a", "reddish", "cir")


@pytest.fixture
def tokenizer():
    return word_tokenizer(WORDS, max_length=12)


def test_each_word_is_one_token(tokenizer):
    ids = tokenizer("a red circle").input_ids
    assert len(ids) == 5
    assert tokenizer.convert_ids_to_tokens(ids[1:-1]) == ["a</w>", "red</w>", "circle</w>"]
    for word in WORDS:
        assert tokenizer.convert_ids_to_tokens(tokenizer(word).input_ids[1:-1]) == [f"{word}</w>"]


def test_unknown_words_are_spelled(tokenizer):
    ids = tokenizer("blue é").input_ids[1:-1]
    assert tokenizer.decode(ids).strip() == "blue é"
    assert len(ids) > 2
    assert tokenizer.eos_token_id not in ids


def test_the_ends_are_the_last_two_tokens(tokenizer):
    ids = tokenizer("red").input_ids
    assert ids[0] == tokenizer.bos_token_id == len(tokenizer) - 2
    assert ids[-1] == tokenizer.eos_token_id == len(tokenizer) - 1


def test_prompts_are_padded_and_cut_to_the_length(tokenizer):
    assert tokenizer.model_max_length == 12
    for text in ("a", "a " * 50):
        ids = tokenizer(text, padding="max_length", truncation=True).input_ids
        assert len(ids) == 12


def test_case_and_spaces_do_not_matter(tokenizer):
    assert tokenizer("A  Red").input_ids == tokenizer("a red").input_ids


@pytest.mark.parametrize(
    "words",
    [
        ("inner", "pink"),  # a word begins with what stands inside another
        ("a", "lalala"),  # a pair comes twice
        ("issip", "mississippi", "ssi"),
        ("élan", "été"),  # letters of two bytes
        ("above", "at", "triangle", "orange", "star", "right", "ring", "tri"),
    ],
)
def test_words_that_share_letters_are_still_one_token_each(words):
    tokenizer = word_tokenizer(words)
    assert all(len(tokenizer(word).input_ids) == 3 for word in words)


def test_the_words_of_the_packaged_recipes_are_one_token_each():
    recipe = read_recipe(find_recipe("shapes"))
    tokenizer = word_tokenizer(recipe.words, max_length=recipe.prompt_length)
    spelled = [word for word in recipe.words if len(tokenizer(word).input_ids) != 3]
    assert spelled == []


@pytest.mark.parametrize("word", ["", "Red", "dark red", "2d", "don't"])
def test_what_is_no_word_is_refused(word):
    with pytest.raises(ConfigError, match="is no word of lowercase letters"):
        word_tokenizer(["red", word])


def test_the_order_of_words_does_not_matter(tokenizer):
    assert word_tokenizer(reversed(WORDS), max_length=12).get_vocab() == tokenizer.get_vocab()


def test_it_is_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("a red circle", "blue é", "reddish red", ""):
        assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.model_max_length == 12
    assert loaded.get_vocab() == tokenizer.get_vocab()
