"""What others would do on the same split: each file has `measure(prepared, ...) -> figures`.

They train on the whole labelled budget: who makes no choice needs no validation images.
"""
