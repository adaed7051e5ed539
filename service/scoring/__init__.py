"""Scoring: many images in, predictions with their uncertainty out, as files of Parquet.

place      where images are: a folder or the URL of a bucket
source     where images come from
pictures   a source of picture files
parquet    a source of rows of Parquet, with pictures or pixels
inventory  what there is to score, and how it is cut into shards
plan       what is scored with what: written first, and what a run that goes on must agree with
row        what is said of one image, and rows as Parquet
output     the files that are written, each whole and once
scorer     one level, made ready: images to rows
line       reading, decoding, computing and writing, at the same time
task       all that somebody needs to know to score shards, here or elsewhere
cluster    the same on the machines of a Ray cluster
summary    what came of it

An output has `_plan.json`, written first, `part-00000.parquet` and so on, and `_SUCCESS`, written last.
"""
