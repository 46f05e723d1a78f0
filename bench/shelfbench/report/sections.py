"""What the report of a comparison of backends consists of, in the order of its page."""

from __future__ import annotations

from shelfbench.report.aggregated import aggregation
from shelfbench.report.calibrated import calibration, reliability_diagram
from shelfbench.report.categories import category_gain, figure7, kept_categories, precision_by_category, worst_of_chosen
from shelfbench.report.certified import certified, measures
from shelfbench.report.comparison import comparison, comparison_matrix
from shelfbench.report.data import RunData
from shelfbench.report.errors import confusions, departments, extreme_categories, surest
from shelfbench.report.explorer import explorer
from shelfbench.report.figures import cost, figure1, figure2, figure5
from shelfbench.report.label_noise import label_noise
from shelfbench.report.ladder import ladder
from shelfbench.report.leakage import leakage
from shelfbench.report.merged import merged_runs
from shelfbench.report.money import costs
from shelfbench.report.page import claims, command, the_data, the_study, this_run, unreadable
from shelfbench.report.photos import surest_photos
from shelfbench.report.section import SectionSpec
from shelfbench.report.suspects import link_to_labels, suspects
from shelfbench.report.table4 import table4
from shelfbench.report.tables import deciles, metrics
from shelfbench.report.which_category import link_to_category

_TRUST = "Calibration, measures of confidence, photos of a product"
_KINDS = "Best and worst categories, most confident errors, categories kept"

# A new table or figure is one function and one line here.
SECTIONS: tuple[SectionSpec[RunData], ...] = (
    SectionSpec(explorer),
    SectionSpec(table4),
    SectionSpec(figure5),
    SectionSpec(certified),
    SectionSpec(costs),
    SectionSpec(ladder),
    SectionSpec(reliability_diagram),
    SectionSpec(calibration, fold=_TRUST),
    SectionSpec(measures, fold=_TRUST),
    SectionSpec(aggregation, fold=_TRUST),
    SectionSpec(comparison_matrix, turn="beside"),
    SectionSpec(comparison, fold="Every pair", turn="beside"),
    SectionSpec(cost),
    SectionSpec(worst_of_chosen),
    SectionSpec(precision_by_category),
    SectionSpec(departments),
    SectionSpec(confusions),
    SectionSpec(link_to_category),
    SectionSpec(category_gain),
    SectionSpec(surest_photos),
    SectionSpec(link_to_labels),
    SectionSpec(figure7),
    SectionSpec(extreme_categories, fold=_KINDS),
    SectionSpec(surest, fold=_KINDS),
    SectionSpec(kept_categories, fold=_KINDS),
    SectionSpec(deciles, fold="By size of category"),
    SectionSpec(suspects),
    SectionSpec(leakage),
    SectionSpec(label_noise),
    SectionSpec(the_data),
    SectionSpec(unreadable, fold="Unreadable images by name"),
    SectionSpec(figure1),
    SectionSpec(figure2),
    SectionSpec(metrics, fold="Per product and per image, on every split"),
    SectionSpec(claims, fold="The papers' numbers next to this run's", turn="last"),
    SectionSpec(command),
    SectionSpec(merged_runs),
    SectionSpec(this_run),
    SectionSpec(the_study, fold="The study"),
)
