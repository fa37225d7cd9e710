"""Numba kernels: arrays in, arrays out, serial, no imports of ours; they read like the textbook.

Each file stands alone: none calls a jitted function of another file, because numba's disk cache would miss
edits there. The parallel loop around the kernels is ``sparsegen_classic._parallel.for_blocks``.
"""
