"""Published files from the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path


def hub_file(
    repo_id: str,
    filename: str = "model.safetensors",
    *,
    revision: str,
    cache_dir: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
) -> Path:
    """A file of a repository on the Hugging Face hub, downloaded where it is not there yet.

        file = hub_file("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", revision="main")
        params = load_safetensors(file, ViT(**VITS["vit_tiny_patch16_224"]), names="timm")

    Args:
        repo_id: owner and name, "timm/resnet50.a1_in1k".
        filename: the file in the repository.
        revision: a commit, which stays what it is, or a branch or tag, which may move.
        cache_dir: where downloads are kept; huggingface_hub's own folder by default.
        endpoint: address of another hub; huggingface_hub's own by default.

    Returns:
        The file on this machine.

    Raises:
        ModuleNotFoundError: huggingface_hub, of the extra `hub`, is missing.
        ValueError: repo_id is no owner and name.
        OSError: the hub cannot be reached, or has no such repository, revision or file; its own subclasses, from
            huggingface_hub.errors, say which.

    Source: `huggingface_hub.hf_hub_download`.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the Hugging Face hub needs the package huggingface_hub: pip install 'saliency-jax[hub]'", name=error.name
        ) from error
    found = huggingface_hub.hf_hub_download(
        repo_id,
        filename,
        revision=revision,
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        endpoint=endpoint,
    )
    return Path(found)
