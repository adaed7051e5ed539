"""Describe and compare versions: model card, tables, differences, plots."""
