"""Rows in: input files, their formats, filters, projections and samples. No click here, and no printing."""
