"""Work done by other processes, on this machine or others, through Dask."""
