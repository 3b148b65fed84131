"""Jobs of random tables and options, each judged by an oracle that was written from the documents: `python -m
tests.fuzz --help`.

case.py     a job as data: columns, batches, options
values.py   values of any Arrow type as plain Python → arrays, byte by byte; and back
draw.py     a random case for each seed and number; types.py and options.py know what there is to draw
oracle.py   what must come of a case: the points, the rejects, or what a refusal must name
arenas.py   the stores, and how their points are read back without the sink
judge.py    runs a case and compares
shrink.py   makes a case that surprises smaller
corpus.py   what was found before, replayed by every run
"""
