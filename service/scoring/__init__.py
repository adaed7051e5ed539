"""Score many images and write predictions with their uncertainty as Parquet, locally or on a Ray cluster.

An output has `_plan.json`, written first, `part-00000.parquet` and so on, and `_SUCCESS`, written last.
"""
