"""Chain-of-thought-action (CoTA) traces: how they are written, read, converted and checked.

A corpus is a folder: `shard-00000.jsonl`, ... with one record a line (`record.Record`), `media/`
with the images by the digest of their pixels, and `traces/` with one trace an episode, as
`pixelis_env.replay` plays it.
"""
