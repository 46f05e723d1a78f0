"""Single sections of a report."""

from shelfbench.report.data import open_data
from shelfbench.report.render import write_report
from shelfbench.report.section import SectionSpec


def write_sections(run_dir, *makes, **settings):
    """Write the sections that some functions make of a run; return their content, in order.

    `settings` are those of `shelfbench.report.data.open_data`.
    """
    data = open_data(run_dir, **settings)
    return write_report(data.run.path, [SectionSpec(make) for make in makes], data, tables=data.tables)
