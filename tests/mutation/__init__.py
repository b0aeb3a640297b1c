"""A mutation score for the proof: one thing is changed in a finished split, and the proof must see it.

`places` and `attacks` make changes and know nothing of what must hold; `judge` asks the proof, within limits; `oracles`
say whether a change that it accepted is harmless, and why; `campaign` counts. `python -m mutation` runs it alone.
"""
