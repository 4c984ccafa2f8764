"""Pages for a browser, each one file with its pictures inside, made from Datasets and arrays alone."""

from saliency_jax.report.prototype_page import prototype_page

__all__ = ["prototype_page"]
