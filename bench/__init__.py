"""The benchmarks, and the naive rivals they are held against. Top layer: may import all; not in the wheel."""
