"""Pages for a browser, each one file with its pictures inside, made from Datasets and arrays alone."""

from saliency_jax.report.finished_parts import Finished, finished_parts
from saliency_jax.report.prototype_page import prototype_page
from saliency_jax.report.sanity_page import sanity_page

__all__ = ["Finished", "finished_parts", "prototype_page", "sanity_page"]
