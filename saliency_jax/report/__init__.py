"""Pages for a browser, each one file with its pictures inside, made from Datasets and arrays alone."""

from saliency_jax.report.findings_page import findings_page
from saliency_jax.report.finished_parts import Finished, finished_parts
from saliency_jax.report.illustrations import Illustration
from saliency_jax.report.labelled_tables import Table, labelled_table
from saliency_jax.report.prototype_page import prototype_page
from saliency_jax.report.sanity_page import sanity_page

__all__ = [
    "Finished",
    "Illustration",
    "Table",
    "findings_page",
    "finished_parts",
    "labelled_table",
    "prototype_page",
    "sanity_page",
]
