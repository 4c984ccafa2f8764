"""What the reader of an example is taken to have: a model, parameters, images. All of it small."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

import saliency_jax as sj
from saliency_jax import data, maximization, models, prototypes, sanity
from saliency_jax.data.preprocessing import Preprocessing
from saliency_jax.models import weights
from saliency_jax.models.pretrained import Pretrained

SIZE, COUNT = 12, 4
RANDOM_MODELS = [
    (sj, "parameter_randomization"),
    (sanity, "smooth_mprt"),
    (sanity, "masked_randomization"),
    (sanity, "cosine_convergence"),
    (sanity, "completeness_along_cascade"),
]
"""Functions of which the README runs so many times what one random model shows as well."""


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(4, name="conv2")(x))


class Network(nn.Module):
    """Stands for all networks of the README: it has the layers that are named there, for images of any size.

    What is called a convolution sees one pixel, as such a layer is compiled in no time.
    """

    depths: tuple[int, ...] = ()
    bottleneck: bool = True

    @nn.compact
    def __call__(self, images):
        grey = images.mean(-1, keepdims=True)
        hidden = nn.relu(nn.Dense(4, name="conv1")(grey))
        hidden = nn.relu(nn.Dense(4, name="conv2")(hidden))
        return nn.Dense(10, name="logits")(Block(name="block4")(hidden).mean((1, 2)))


def for_the_readme(folder, monkeypatch):
    """Names, and small things under the names of large ones; pictures in the folder."""
    from saliency_jax import plotting  # matplotlib, which the pages do not need

    model = Network()
    images = jax.random.uniform(jax.random.key(1), (COUNT, SIZE, SIZE, 3))

    def init(key):
        return model.init(key, images)

    params = init(jax.random.key(0))
    (folder / "photographs").mkdir()
    for i, pixels in enumerate(np.asarray(images * 255, np.uint8)):
        Image.fromarray(pixels).save(folder / "photographs" / f"{i}.png")
    network = Pretrained(model.apply, params, Preprocessing(size=SIZE), 0, model)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(models, "load_pretrained", lambda name: network)
    monkeypatch.setattr(models, "ResNet", Network)
    monkeypatch.setattr(weights, "load_safetensors", lambda path, model, names: params)
    for place, name in RANDOM_MODELS:
        monkeypatch.setattr(place, name, functools.partial(getattr(place, name), seeds=1))
    for name in ("layer_dimensions", "layer_dimensions_along"):
        shorter = functools.partial(getattr(sj, name), layers=["logits"], ranges=(1,))
        monkeypatch.setattr(sj, name, shorter)
    fewer = functools.partial(sj.continuity, translations=((0, 1),), samples=2, kinks=0, ascent=0)
    monkeypatch.setattr(sj, "continuity", fewer)
    monkeypatch.setattr(sanity, "smooth_mprt", functools.partial(sanity.smooth_mprt, samples=2))
    monkeypatch.setitem(sj.PROTOCOLS, "paper", sj.PROTOCOLS["paper"]._replace(metrics={"spearman": sj.spearman}))
    monkeypatch.setattr(sj, "EXPLAINERS", {name: sj.EXPLAINERS[name] for name in ("gradient", "smoothgrad", "vargrad")})
    monkeypatch.setattr(prototypes, "schedule", lambda: (prototypes.Stage("warm"), prototypes.Stage("project")))
    return {
        "data": data,
        "explainers": {"gradient": sj.gradient},
        "f": sj.class_score(model.apply, params, 3),
        "first": params,
        "image": images[0],
        "images": images,
        "init": init,
        "jax": jax,
        "key": jax.random.key(2),
        "labels": np.arange(COUNT),
        "later": init(jax.random.key(3)),
        "maximization": maximization,
        "model": model,
        "params": params,
        "permuted_params": init(jax.random.key(4)),
        "plotting": plotting,
        "points": jax.random.normal(jax.random.key(5), (100, 3)),
        "sj": sj,
        "targets": np.arange(COUNT),
    }


def larger_batches(source):
    """What an example needs more of: points in every layer; images of fifty classes, each of a grey of its own."""
    noise = jax.random.uniform(jax.random.key(6), (200, SIZE, SIZE, 3))
    if "layer_dimensions" in source:
        return {"images": noise[:60]}
    if "ProtoPNet" in source:
        labels = np.arange(200) % 50
        return {"images": jnp.asarray(labels / 50, jnp.float32)[:, None, None, None] + 1e-4 * noise, "labels": labels}
    return {}


def for_verdicts():
    """The results of a randomization test."""
    names = linear_model()
    results = sj.parameter_randomization(
        **{name: names[name] for name in ("apply", "params", "init", "images", "targets")},
        explainers={"gradient": sj.gradient, "edges": sj.edges},
        key=jax.random.key(2),
        seeds=2,
    )
    return {"results": results, "sj": sj}


def for_scaling():
    """A model whose kernel is to be divided, on however many devices there are."""
    sharding = {"NamedSharding": NamedSharding, "PartitionSpec": PartitionSpec}
    names = linear_model()
    return {**names, **sharding, "jax": jax, "kernel": jnp.ones((4, 4)), "pieces": 1, "sj": sj}


def linear_model():
    images = jax.random.uniform(jax.random.key(0), (8, SIZE, SIZE, 1))

    def init(key):
        return {"logits": jax.random.normal(key, (SIZE * SIZE, 3))}

    def apply(params, images):
        return images.reshape(len(images), -1) @ params["logits"]

    params = init(jax.random.key(1))
    return {"apply": apply, "params": params, "init": init, "images": images, "targets": np.arange(8) % 3}
