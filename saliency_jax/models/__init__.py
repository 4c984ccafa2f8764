"""Networks as Flax Linen modules: `model.apply(params, images) -> logits`."""

from saliency_jax.models.cnn import CNN
from saliency_jax.models.efficientnet import EFFICIENTNETS, EfficientNetLite
from saliency_jax.models.inception import INCEPTIONS, InceptionV3
from saliency_jax.models.initializers import INITIALIZERS
from saliency_jax.models.mlp import MLP
from saliency_jax.models.mobilenet import MOBILENETS, MobileNetV2
from saliency_jax.models.pretrained import PRETRAINED, Pretrained, load_pretrained
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.models.squeezenet import SQUEEZENETS, SqueezeNet
from saliency_jax.models.vgg import VGG, VGGS
from saliency_jax.models.vit import VITS, ViT

__all__ = [
    "CNN",
    "EFFICIENTNETS",
    "INCEPTIONS",
    "INITIALIZERS",
    "MLP",
    "MOBILENETS",
    "PRETRAINED",
    "RESNETS",
    "SQUEEZENETS",
    "VGG",
    "VGGS",
    "VITS",
    "EfficientNetLite",
    "InceptionV3",
    "MobileNetV2",
    "Pretrained",
    "ResNet",
    "SqueezeNet",
    "ViT",
    "load_pretrained",
]
