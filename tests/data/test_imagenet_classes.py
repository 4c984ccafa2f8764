"""ImageNet's class names: indices that are known from elsewhere, and what is said of a name that is none."""

import pytest

from saliency_jax.data.imagenet_classes import class_index, class_names


def test_the_thousand_names_stand_at_their_published_places():
    names = class_names()
    assert len(names) == 1000 and len(set(names)) == 998
    # By the mapping that comes with torchvision's and Keras's weights.
    assert [names[i] for i in (0, 13, 207, 236, 281, 999)] == [
        "tench",
        "junco",
        "golden_retriever",
        "Doberman",
        "tabby",
        "toilet_tissue",
    ]


@pytest.mark.parametrize("name", ["golden_retriever", "golden retriever", " Golden Retriever "])
def test_a_class_is_found_by_its_name(name):
    assert class_index(name) == 207


@pytest.mark.slow
def test_every_name_finds_its_own_index_or_says_why_not():
    for i, name in enumerate(class_names()):
        if name in ("crane", "maillot"):
            with pytest.raises(ValueError, match=rf"is the name of the classes \[.*{i}.*\]"):
                class_index(name)
        else:
            assert class_index(name) == i


@pytest.mark.parametrize(
    "name, near",
    [("golden_retreiver", "golden_retriever"), ("finch", "goldfinch, house_finch"), ("", "none"), ("qqqqqq", "none")],
)
def test_an_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(ValueError, match=rf"1,000 classes, got '{name}'; near names: {near}"):
        class_index(name)


def test_only_case_tells_the_dog_from_the_garment():
    assert class_index("Cardigan") == 264 and class_index("cardigan") == 474
    with pytest.raises(ValueError, match=r"'CARDIGAN' is the name of the classes \[264, 474\]"):
        class_index("CARDIGAN")
