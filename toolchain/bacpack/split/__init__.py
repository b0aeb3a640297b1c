"""Splitting: one file a stage, in the order data flows.

`fingerprint` what each function looks like · `match` which become one · `partition` (or `by_name`) which go together ·
`resolve` and `demand` what stands for each operand, and who needs what · `shared` and `remainder` the bytes ·
`validate` and `output` checked and written. `pipeline` calls them in turn.
"""
