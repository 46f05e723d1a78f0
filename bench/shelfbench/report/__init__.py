"""The report that people read: tables, figures and the page."""
