"""CSV files read to the last digit."""

import pandas as pd

# pandas before 3 may be wrong in the last digit unless it is asked; later ones need no word, and warn of it
_EXACTLY = {"float_precision": "round_trip"} if int(pd.__version__.partition(".")[0]) < 3 else {}


def read_exactly(path):
    """Read a CSV file, and every number as Python's ``float`` reads it."""
    return pd.read_csv(path, **_EXACTLY)
