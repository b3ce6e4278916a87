"""The published comparison tables, measured again.

A table is a list of cells (`shots.py`, `strategies.py`), a cell is one line: a name, what it
changes in the recipe, which figure it reports. `methods/` are what Regraft does, `baselines/` what
others would do. `runner.py` measures, keeps every finished measurement and continues after a kill.
"""
